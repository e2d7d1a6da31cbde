#include "bindings.hpp"
#include "driver.hpp"
#include "kinematics.hpp"

namespace edgearm::bindings {

namespace {

// An arm that comes to rest first takes its time.
struct DeleteWithoutGil {
    void operator()(Driver* driver) const {
        const py::gil_scoped_release released;
        delete driver;
    }
};

py::dict from_stats(const DriverStats& stats, const LinkStats& link) {
    const auto count = [](const std::atomic<std::uint64_t>& counter) {
        return counter.load(std::memory_order_relaxed);
    };
    py::dict bus;
    bus["cycles"] = stats.bus_cycles;
    bus["overruns"] = stats.bus_overruns;
    bus["ok"] = count(link.exchanges);
    bus["replies"] = count(link.replies);
    bus["corrupt"] = count(link.corrupt);
    bus["stray"] = count(link.stray);
    bus["timeout"] = count(link.timeouts);
    bus["implausible"] = count(link.implausible);
    return bus;
}

// name → (error bits in words, how long ago the servo last gave a believable position).
py::dict from_servos(const Driver& driver, std::int64_t now_ns) {
    py::dict servos;
    const LinkStats& link = driver.link_stats();
    for (std::size_t i = 0; i < kJoints; ++i) {
        const std::int64_t seen = link.seen_ns[i].load(std::memory_order_relaxed);
        py::dict servo;
        servo["error"] = describe_error(driver.loop().arm(), link.errors[i].load(std::memory_order_relaxed));
        servo["age_ns"] = seen == 0 ? py::object(py::none()) : py::object(py::int_(now_ns - seen));
        servos[py::str(driver.loop().arm().spec().joints[i].name)] = servo;
    }
    return servos;
}

py::dict snapshot(const Driver& driver) {
    const Published published = driver.loop().published();
    const DriverStats stats = driver.stats();
    const auto pinch = pinch_pose(driver.loop().arm(), published.measured);
    py::dict result = from_published(published, driver.loop().arm());
    result["pinch_pose"] = pinch ? py::object(py::make_tuple(pinch->x, pinch->y, pinch->z, pinch->yaw)) : py::none();
    result["running"] = driver.running();
    result["connected"] = stats.connected;
    result["port"] = driver.port();
    result["link"] = stats.link;
    result["torque"] = stats.torque;
    result["realtime"] = stats.realtime;
    result["lateness_p50_ns"] = stats.lateness_p50_ns;
    result["lateness_p99_ns"] = stats.lateness_p99_ns;
    result["lateness_max_ns"] = stats.lateness_max_ns;
    result["step_mean_ns"] = stats.step_mean_ns;
    result["step_max_ns"] = stats.step_max_ns;
    result["deadline_misses"] = stats.deadline_misses;
    result["log_dropped"] = stats.log_dropped;
    result["page_faults"] = stats.page_faults;
    result["controller"] =
        describe_controller(driver.loop().arm(), driver.link_stats().controller.load(std::memory_order_relaxed));
    result["bus"] = from_stats(stats, driver.link_stats());
    result["servos"] = from_servos(driver, monotonic_ns());
    return result;
}

py::array_t<LogSample> drain(Driver& driver) {
    std::vector<LogSample> samples;
    LogSample sample;
    while (driver.pop(sample)) {
        samples.push_back(sample);
    }
    return py::array_t<LogSample>(static_cast<py::ssize_t>(samples.size()), samples.data());
}

py::array_t<DurationHistogram::Bucket> buckets(const DurationHistogram& histogram) {
    const std::vector<DurationHistogram::Bucket> filled = histogram.buckets();
    return py::array_t<DurationHistogram::Bucket>(static_cast<py::ssize_t>(filled.size()), filled.data());
}

}  // namespace

void bind_driver(py::module_& module) {
    PYBIND11_NUMPY_DTYPE(LogSample, time_ns, measured, commanded, chunk_id, state);
    PYBIND11_NUMPY_DTYPE(DurationHistogram::Bucket, longest_ns, count);
    using NoGil = py::call_guard<py::gil_scoped_release>;
    const DriverConfig defaults;
    py::class_<Driver, std::unique_ptr<Driver, DeleteWithoutGil>>(module, "Driver")
        .def(py::init([](ControlLoop& loop, const std::string& port, std::int64_t bus_period_ns,
                         std::int64_t reply_timeout_ns, int priority, std::optional<int> cpu, bool lock_memory,
                         bool keep_torque, std::uint32_t log_every) {
                 return std::unique_ptr<Driver, DeleteWithoutGil>(
                     new Driver(loop, port,
                                DriverConfig{bus_period_ns, reply_timeout_ns, priority,
                                             cpu.value_or(DriverConfig{}.cpu), lock_memory, keep_torque, log_every}));
             }),
             py::arg("loop"), py::arg("port"), py::kw_only(), py::arg("bus_period_ns") = defaults.bus_period_ns,
             py::arg("reply_timeout_ns") = defaults.reply_timeout_ns, py::arg("priority") = defaults.priority,
             py::arg("cpu") = py::none(), py::arg("lock_memory") = defaults.lock_memory,
             py::arg("keep_torque") = defaults.keep_torque, py::arg("log_every") = defaults.log_every,
             py::keep_alive<1, 2>())
        .def("start", &Driver::start, NoGil())
        .def("stop", &Driver::stop, NoGil())
        .def("snapshot", snapshot)
        .def("drain", drain)
        .def("lateness", [](const Driver& driver) { return buckets(driver.lateness()); })
        .def("step_times", [](const Driver& driver) { return buckets(driver.step_times()); })
        .def_property_readonly("running", &Driver::running)
        .def_property_readonly("port", &Driver::port);
    module.def("release_memory", &release_memory, NoGil());
    module.def("share_memory_pools", &share_memory_pools);
}

}  // namespace edgearm::bindings
