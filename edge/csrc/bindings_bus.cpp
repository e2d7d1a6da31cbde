#include "bindings.hpp"
#include "feetech_arm.hpp"
#include "open_link.hpp"

namespace edgearm::bindings {

namespace {

constexpr int kTries = 2;

// A port and the servos behind it, for tools that look and set up; never together with a driver on the same port.
class ServoBus {
public:
    explicit ServoBus(const std::string& port) : port_(open_link<link::SerialPort>(port)), bus_(port_) {}

    py::object ping(std::uint8_t id, std::int64_t timeout_ns) { return answer(bus_.ping(id, timeout_ns, 1)); }
    py::object read(std::uint8_t id, std::uint8_t address, std::uint8_t length, std::int64_t timeout_ns) {
        return answer(bus_.read(id, address, length, timeout_ns, kTries));
    }

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

}  // namespace

void bind_bus(py::module_& module) {
    py::class_<ServoBus>(module, "ServoBus")
        .def(py::init<std::string>(), py::arg("port"))
        .def("ping", &ServoBus::ping, py::arg("id"), py::arg("timeout_ns") = 50'000'000)
        .def("read", &ServoBus::read, py::arg("id"), py::arg("address"), py::arg("length"),
             py::arg("timeout_ns") = 50'000'000);
    module.def("describe_servo_error", describe_servo_error, py::arg("bits"));
}

}  // namespace edgearm::bindings
