#include <optional>
#include <tuple>

#include "bindings.hpp"
#include "bridge_line.hpp"
#include "bridge_words.hpp"
#include "damiao_bus.hpp"
#include "feetech_arm.hpp"
#include "open_link.hpp"

namespace edgearm::bindings {

namespace {

constexpr int kTries = 2;

// A port and the servos behind it, for tools that look and set up; never together with a driver on the same port.
class ServoBus {
public:
    ServoBus(const std::string& port, int baud) : port_(open_link<link::SerialPort>(port, baud)), bus_(port_) {}

    py::object ping(std::uint8_t id, std::int64_t timeout_ns) { return answer(bus_.ping(id, timeout_ns, 1)); }
    py::object read(std::uint8_t id, std::uint8_t address, std::uint8_t length, std::int64_t timeout_ns) {
        return answer(bus_.read(id, address, length, timeout_ns, kTries));
    }
    // Once: a write that was obeyed and not acknowledged is found by reading back.
    bool write(std::uint8_t id, std::uint8_t address, const std::string& data, std::int64_t timeout_ns) {
        const std::span bytes(reinterpret_cast<const std::uint8_t*>(data.data()), data.size());
        return bus_.write(id, address, bytes, timeout_ns, 1).io == Io::ok;
    }
    std::uint64_t corrupt() const { return bus_.counters().corrupt; }

private:
    static py::object answer(const Reply& reply) {
        if (reply.io != Io::ok) {
            return py::none();
        }
        return py::make_tuple(reply.error,
                              py::bytes(reinterpret_cast<const char*>(reply.params.data()), reply.params.size()));
    }

    link::SerialPort port_;
    FeetechBus bus_;
};

// The same for a CAN bus with Damiao motors on it. The interpreter goes on meanwhile.
class MotorBus {
public:
    using Seen = std::tuple<std::uint8_t, float, std::uint8_t, std::uint8_t>;

    explicit MotorBus(const std::string& port) : bus_(open_can(port)) {}

    std::optional<std::uint32_t> read(std::uint8_t id, std::uint16_t master_id, std::uint8_t address,
                                      std::int64_t timeout_ns) {
        std::uint32_t bits = 0;
        const Io result = bus_.read({id, master_id}, static_cast<damiao_register>(address), bits, timeout_ns, kTries);
        return result == Io::ok ? std::optional(bits) : std::nullopt;
    }
    std::optional<Seen> refresh(std::uint8_t id, std::uint16_t master_id, const std::array<float, 3>& limits,
                                std::int64_t timeout_ns) {
        damiao_feedback seen{};
        const Io result = bus_.refresh({id, master_id}, {limits[0], limits[1], limits[2]}, seen, timeout_ns, kTries);
        return result == Io::ok
                   ? std::optional(Seen{seen.status, seen.position, seen.mosfet_celsius, seen.coil_celsius})
                   : std::nullopt;
    }

private:
    DamiaoBus bus_;
};

// The same for a microcontroller. The interpreter goes on meanwhile.
class ControllerPort {
public:
    explicit ControllerPort(const std::string& port) : line_(open_bridge(port)) { line_.discard_input(); }

    std::optional<bridge_state> state(std::int64_t timeout_ns) {
        bridge_message message;
        return wait(BRIDGE_STATE, message, timeout_ns) ? std::optional(message.as.state) : std::nullopt;
    }
    // Asks with a hello that cannot open a session, because no protocol has its number.
    std::optional<bridge_hello> identity(std::int64_t timeout_ns) {
        bridge_message message{};
        message.kind = BRIDGE_HELLO;
        message.as.hello = {kJoints, 1, ~BRIDGE_PROTOCOL, 1, 0, BRIDGE_ACCEPTED};
        line_.send(message, monotonic_ns() + timeout_ns);
        return wait(BRIDGE_HELLO_REPLY, message, timeout_ns) ? std::optional(message.as.hello) : std::nullopt;
    }
    std::uint64_t corrupt() const { return line_.corrupt(); }

private:
    bool wait(bridge_kind kind, bridge_message& message, std::int64_t timeout_ns) {
        const std::int64_t deadline = monotonic_ns() + timeout_ns;
        Io result = Io::ok;
        do {
            result = line_.receive(message, deadline);
        } while (result == Io::ok && message.kind != kind);
        return result == Io::ok;
    }

    BridgeLine line_;
};

}  // namespace

void bind_bus(py::module_& module) {
    py::class_<bridge_state>(module, "ControllerState")
        .def_property_readonly("arm", [](const bridge_state& state) { return bridge_arm_name(state.arm); })
        .def_property_readonly("faults", [](const bridge_state& state) { return bridge_fault_names(state.faults); })
        .def_readonly("joints", &bridge_state::joints)
        .def_readonly("session", &bridge_state::session)
        .def_readonly("sequence", &bridge_state::sequence)
        .def_readonly("time_us", &bridge_state::time_us)
        .def_readonly("latch", &bridge_state::latch)
        .def_readonly("stale", &bridge_state::stale)
        .def_readonly("age_ms", &bridge_state::age_ms);
    py::class_<bridge_hello>(module, "ControllerIdentity")
        .def_readonly("joints", &bridge_hello::joints)
        .def_readonly("tick_us", &bridge_hello::tick_us)
        .def_readonly("protocol", &bridge_hello::protocol)
        .def_readonly("config", &bridge_hello::config);
    py::class_<ControllerPort>(module, "ControllerPort")
        .def(py::init<std::string>(), py::arg("port"))
        .def("state", &ControllerPort::state, py::arg("timeout_ns") = 1'000'000'000,
             py::call_guard<py::gil_scoped_release>())
        .def("identity", &ControllerPort::identity, py::arg("timeout_ns") = 200'000'000,
             py::call_guard<py::gil_scoped_release>())
        .def_property_readonly("corrupt", &ControllerPort::corrupt);
    module.attr("BRIDGE_PROTOCOL") = BRIDGE_PROTOCOL;
    py::class_<ServoBus>(module, "ServoBus")
        .def(py::init<std::string, int>(), py::arg("port"), py::arg("baud") = 1'000'000)
        .def("ping", &ServoBus::ping, py::arg("id"), py::arg("timeout_ns") = 50'000'000)
        .def("read", &ServoBus::read, py::arg("id"), py::arg("address"), py::arg("length"),
             py::arg("timeout_ns") = 50'000'000)
        .def(
            "write",
            [](ServoBus& bus, std::uint8_t id, std::uint8_t address, const py::bytes& data, std::int64_t timeout_ns) {
                return bus.write(id, address, data, timeout_ns);
            },
            py::arg("id"), py::arg("address"), py::arg("data"), py::arg("timeout_ns") = 50'000'000)
        .def_property_readonly("corrupt", &ServoBus::corrupt);
    using NoGil = py::call_guard<py::gil_scoped_release>;
    py::class_<MotorBus>(module, "MotorBus")
        .def(py::init<std::string>(), py::arg("port"), NoGil())
        .def("read", &MotorBus::read, py::arg("id"), py::arg("master_id"), py::arg("address"),
             py::arg("timeout_ns") = 50'000'000, NoGil())
        .def("refresh", &MotorBus::refresh, py::arg("id"), py::arg("master_id"), py::arg("limits"),
             py::arg("timeout_ns") = 50'000'000, NoGil());
    module.def("describe_motor_status", describe_motor_status, py::arg("status"));
    module.def("describe_servo_error", describe_servo_error, py::arg("bits"));
}

}  // namespace edgearm::bindings
