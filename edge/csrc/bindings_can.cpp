#include <array>

#include "bindings.hpp"
#include "can_link.hpp"
#include "open_link.hpp"
#include "serial_port.hpp"
#include "slcan.hpp"
#include "socketcan.hpp"

namespace edgearm::bindings {

namespace {

using link::CanFrame;
using NoGil = py::call_guard<py::gil_scoped_release>;

// By the value of Io and of BusState; the lists in edge/_core.pyi.
constexpr std::array<const char*, 5> kResults{"ok", "timeout", "gone", "corrupt", "refused"};
constexpr std::array<const char*, 5> kStates{"unknown", "active", "warning", "passive", "off"};

// An adapter with the serial line it is on.
struct Slcan {
    link::SerialPort port;
    link::SlcanLink bus;

    Slcan(const std::string& path, const link::SlcanConfig& config)
        : port(open_link<link::SerialPort>(path)), bus(open_link<link::SlcanLink>(port, config)) {}
};

CanFrame to_frame(std::uint32_t id, const std::string& data, bool extended, bool remote, bool fd, bool bit_rate_switch,
                  std::optional<std::size_t> length) {
    const std::size_t size = length.value_or(data.size());
    if (data.size() > CanFrame::kFdBytes || size > CanFrame::kFdBytes) {
        throw py::value_error("a CAN frame has at most " + std::to_string(CanFrame::kFdBytes) + " bytes");
    }
    CanFrame frame{id, extended, remote, fd, bit_rate_switch, static_cast<std::uint8_t>(size), {}};
    std::copy(data.begin(), data.end(), frame.data.begin());
    return frame;
}

py::bytes data_of(const CanFrame& frame) {
    return {reinterpret_cast<const char*>(frame.data.data()), frame.remote ? 0u : frame.length};
}

py::dict from_counters(const link::CanCounters& counters) {
    py::dict result;
    result["sent"] = counters.sent;
    result["received"] = counters.received;
    result["refused"] = counters.refused;
    result["corrupt"] = counters.corrupt;
    result["overruns"] = counters.overruns;
    result["unanswered"] = counters.unanswered;
    result["bus_errors"] = counters.bus_errors;
    return result;
}

const char* send(link::CanLink& bus, const CanFrame& frame, std::int64_t timeout_ns) {
    return kResults[static_cast<std::size_t>(bus.send(frame, link::monotonic_ns() + timeout_ns))];
}

std::pair<const char*, CanFrame> receive(link::CanLink& bus, std::int64_t timeout_ns) {
    CanFrame frame;
    const link::Io result = bus.receive(frame, link::monotonic_ns() + timeout_ns);
    return {kResults[static_cast<std::size_t>(result)], frame};
}

// What every link has; `bus_of` finds it in the bound class.
template <class Bound, class BusOf>
void bind_link(py::class_<Bound>& bound, BusOf bus_of) {
    bound
        .def(
            "send",
            [=](Bound& self, const CanFrame& frame, std::int64_t timeout_ns) {
                return send(bus_of(self), frame, timeout_ns);
            },
            py::arg("frame"), py::arg("timeout_ns"), NoGil())
        .def(
            "receive", [=](Bound& self, std::int64_t timeout_ns) { return receive(bus_of(self), timeout_ns); },
            py::arg("timeout_ns"), NoGil())
        .def_property_readonly("path", [=](Bound& self) { return bus_of(self).path(); })
        .def_property_readonly("state",
                               [=](Bound& self) { return kStates[static_cast<std::size_t>(bus_of(self).state())]; })
        .def_property_readonly("counters", [=](Bound& self) { return from_counters(bus_of(self).counters()); });
}

}  // namespace

void bind_can(py::module_& module) {
    py::class_<CanFrame>(module, "CanFrame")
        .def(py::init(&to_frame), py::arg("id"), py::arg("data") = py::bytes(""), py::kw_only(),
             py::arg("extended") = false, py::arg("remote") = false, py::arg("fd") = false,
             py::arg("bit_rate_switch") = false, py::arg("length") = py::none())
        .def_readonly("id", &CanFrame::id)
        .def_property_readonly("data", &data_of)
        .def_readonly("extended", &CanFrame::extended)
        .def_readonly("remote", &CanFrame::remote)
        .def_readonly("fd", &CanFrame::fd)
        .def_readonly("bit_rate_switch", &CanFrame::bit_rate_switch)
        .def_readonly("length", &CanFrame::length)
        .def("__eq__", [](const CanFrame& a, const CanFrame& b) { return a == b; }, py::is_operator());

    const link::SlcanConfig defaults;
    py::class_<Slcan> slcan(module, "SlcanLink");
    slcan
        .def(py::init([](const std::string& port, int bit_rate, int data_bit_rate, int window) {
                 return std::make_unique<Slcan>(
                     port, link::SlcanConfig{bit_rate, data_bit_rate, window, link::SlcanConfig{}.answer_timeout_ns});
             }),
             py::arg("port"), py::kw_only(), py::arg("bit_rate") = defaults.bit_rate,
             py::arg("data_bit_rate") = defaults.data_bit_rate, py::arg("window") = defaults.window, NoGil())
        .def_property_readonly("acknowledges", [](const Slcan& self) { return self.bus.acknowledges(); })
        .def_property_readonly("stable_path", [](const Slcan& self) { return self.port.stable_path(); });
    bind_link(slcan, [](Slcan& self) -> link::CanLink& { return self.bus; });

    py::class_<link::SocketCanLink> socketcan(module, "SocketCanLink");
    socketcan.def(py::init([](const std::string& interface, bool fd, bool loopback) {
                      const link::SocketCanConfig config{fd, loopback};
                      return open_unique<link::SocketCanLink>(interface, config);
                  }),
                  py::arg("interface"), py::kw_only(), py::arg("fd") = false, py::arg("loopback") = false);
    bind_link(socketcan, [](link::SocketCanLink& self) -> link::CanLink& { return self; });
}

}  // namespace edgearm::bindings
