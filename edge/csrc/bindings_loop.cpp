#include "bindings.hpp"

namespace edgearm::bindings {

namespace {

// An edge.types.Chunk; only its start, period and joints cross over. A wrong shape is a verdict, not an exception.
Offer offer(ControlLoop& loop, const py::object& chunk) {
    const Array targets = chunk.attr("joints").cast<Array>();
    Chunk native;
    native.start_ns = chunk.attr("start_ns").cast<std::int64_t>();
    native.period_ns = chunk.attr("period_ns").cast<std::int64_t>();
    if (targets.ndim() != 2 || static_cast<std::size_t>(targets.shape(1)) != kJoints) {
        return loop.refuse({Refusal::shape, 0, 0, static_cast<double>(targets.size()), 0});
    }
    native.horizon = static_cast<std::size_t>(targets.shape(0));
    for (std::size_t knot = 0; knot < std::min(native.horizon, kMaxHorizon); ++knot) {
        std::copy_n(targets.data(static_cast<py::ssize_t>(knot), 0), kJoints, native.joints[knot].begin());
    }
    return loop.offer(native);
}

Command step(ControlLoop& loop, std::int64_t now_ns, const std::optional<Array>& feedback) {
    loop.require_unclaimed();
    if (!feedback) {
        return loop.step(now_ns, nullptr);
    }
    const Joints measured = to_joints(*feedback);
    return loop.step(now_ns, &measured);
}

Array advance(ControlLoop& loop, std::int64_t start_ns, std::int64_t count, const Array& feedback) {
    loop.require_unclaimed();
    return from_joints(loop.advance(start_ns, count, to_joints(feedback)));
}

py::array_t<FaultSample> fault_log(ControlLoop& loop) {
    const std::vector<FaultSample> steps = loop.fault_log();
    return py::array_t<FaultSample>(static_cast<py::ssize_t>(steps.size()), steps.data());
}

}  // namespace

void bind_loop(py::module_& module) {
    PYBIND11_NUMPY_DTYPE(FaultSample, time_ns, feedback_age_ns, chunk_id, measured, commanded, velocity, flags, state,
                         hold_cause, fault_cause);
    module.attr("STATES") = py::make_tuple(name(State::idle), name(State::ready), name(State::running),
                                           name(State::hold), name(State::fault));
    module.attr("HOLD_CAUSES") =
        py::make_tuple(name(HoldCause::none), name(HoldCause::requested), name(HoldCause::out_of_targets),
                       name(HoldCause::feedback), name(HoldCause::stalled));
    module.attr("FAULT_CAUSES") = py::make_tuple(name(FaultCause::none), name(FaultCause::watchdog),
                                                 name(FaultCause::not_finite), name(FaultCause::link));
    const LoopConfig defaults;
    py::class_<LoopConfig>(module, "LoopConfig")
        .def(py::init([](std::int64_t period_ns, std::int64_t feedback_timeout_ns, std::int64_t watchdog_ns,
                         std::int64_t stall_ns, std::int64_t blend_ns, std::int64_t lookahead_ns,
                         const std::optional<Array>& max_jump) {
                 LoopConfig config{period_ns, feedback_timeout_ns, watchdog_ns, stall_ns, blend_ns, lookahead_ns, {}};
                 config.max_jump = max_jump ? to_joints(*max_jump) : LoopConfig{}.max_jump;
                 return config;
             }),
             py::kw_only(), py::arg("period_ns") = defaults.period_ns,
             py::arg("feedback_timeout_ns") = defaults.feedback_timeout_ns,
             py::arg("watchdog_ns") = defaults.watchdog_ns, py::arg("stall_ns") = defaults.stall_ns,
             py::arg("blend_ns") = defaults.blend_ns, py::arg("lookahead_ns") = defaults.lookahead_ns,
             py::arg("max_jump") = py::none())
        .def_readonly("period_ns", &LoopConfig::period_ns)
        .def_readonly("feedback_timeout_ns", &LoopConfig::feedback_timeout_ns)
        .def_readonly("watchdog_ns", &LoopConfig::watchdog_ns)
        .def_readonly("stall_ns", &LoopConfig::stall_ns)
        .def_readonly("blend_ns", &LoopConfig::blend_ns)
        .def_readonly("lookahead_ns", &LoopConfig::lookahead_ns)
        .def_property_readonly("max_jump", [](const LoopConfig& config) { return from_joints(config.max_jump); });

    py::class_<Command>(module, "Command")
        .def_property_readonly("joints", [](const Command& command) { return from_joints(command.joints); })
        .def_property_readonly("state", [](const Command& command) { return name(command.state); })
        .def_readonly("flags", &Command::flags);

    py::class_<Offer>(module, "Offer")
        .def_readonly("chunk_id", &Offer::chunk_id)
        .def_readonly("reason", &Offer::reason)
        .def_property_readonly("accepted", [](const Offer& result) { return bool{result.verdict}; })
        .def("__bool__", [](const Offer& result) { return bool{result.verdict}; });

    py::class_<ControlLoop>(module, "ControlLoop")
        .def(py::init<Arm, LoopConfig>(), py::arg("arm"), py::arg("config") = LoopConfig{})
        .def("step", step, py::arg("now_ns"), py::arg("feedback") = py::none())
        .def("advance", advance, py::arg("start_ns"), py::arg("count"), py::arg("feedback"))
        .def("offer", offer, py::arg("chunk"))
        .def("start", &ControlLoop::start)
        .def("hold", &ControlLoop::hold)
        .def("clear", &ControlLoop::clear)
        .def("fault_log", fault_log)
        .def("snapshot", [](const ControlLoop& loop) { return from_published(loop.published(), loop.arm()); })
        .def_property_readonly("arm", &ControlLoop::arm, py::return_value_policy::reference_internal)
        .def_property_readonly("config", &ControlLoop::config, py::return_value_policy::reference_internal);
}

}  // namespace edgearm::bindings
