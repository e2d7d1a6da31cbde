#include "bindings.hpp"

#include "error.hpp"

namespace edgearm::bindings {

Joints to_joints(const Array& array) {
    if (array.ndim() != 1 || static_cast<std::size_t>(array.shape(0)) != kJoints) {
        throw py::value_error("expected an array of shape (" + std::to_string(kJoints) + ",)");
    }
    Joints joints;
    std::copy_n(array.data(), kJoints, joints.begin());
    return joints;
}

Array from_joints(const Joints& joints) {
    return Array(kJoints, joints.data());
}

py::dict from_published(const Published& published, const Arm& arm) {
    py::dict counters;
    counters["steps"] = published.counters.steps;
    counters["chunks_taken"] = published.counters.chunks_taken;
    counters["chunks_refused"] = published.counters.chunks_refused;
    counters["holds_out_of_targets"] = published.counters.holds_out_of_targets;
    counters["holds_feedback"] = published.counters.holds_feedback;
    counters["holds_stalled"] = published.counters.holds_stalled;
    counters["faults"] = published.counters.faults;
    counters["starts_refused"] = published.counters.starts_refused;

    py::dict result;
    result["now_ns"] = published.now_ns;
    result["state"] = name(published.state);
    result["hold_cause"] = name(published.hold_cause);
    result["fault_cause"] = name(published.fault_cause);
    result["flags"] = published.flags;
    result["measured"] = from_joints(published.measured);
    result["commanded"] = from_joints(published.commanded);
    result["velocity"] = from_joints(published.velocity);
    result["at_rest"] = published.at_rest;
    result["feedback_age_ns"] =
        published.feedback_ns < 0 ? py::object(py::none()) : py::int_(published.now_ns - published.feedback_ns);
    result["chunk_id"] = published.chunk_id;
    result["chunk_age_ns"] =
        published.chunk_id == 0 ? py::object(py::none()) : py::int_(published.now_ns - published.chunk_start_ns);
    result["last_refusal"] = describe(published.refused, arm);
    result["counters"] = counters;
    return result;
}

namespace {

// An edgearm::Error becomes the edge.errors class of its kind.
void translate(std::exception_ptr pointer) {
    try {
        if (pointer) {
            std::rethrow_exception(pointer);
        }
    } catch (const Error& error) {
        const char* kind = error.kind == Error::Kind::link   ? "LinkError"
                           : error.kind == Error::Kind::arm  ? "ArmError"
                           : error.kind == Error::Kind::task ? "TaskError"
                                                             : "ConfigError";
        const py::object type = py::module_::import("edge.errors").attr(kind);
        const py::object raised = type(error.what(), py::arg("expected") = error.expected, py::arg("got") = error.got,
                                       py::arg("fix") = error.fix);
        PyErr_SetObject(type.ptr(), raised.ptr());
    }
}

}  // namespace

}  // namespace edgearm::bindings

PYBIND11_MODULE(_core, module) {
    namespace bindings = edgearm::bindings;
    module.doc() = "The native core: arm, control loop, subtask memory, servo driver, CAN links.";
    pybind11::register_exception_translator(bindings::translate);
    bindings::bind_arm(module);
    bindings::bind_loop(module);
    bindings::bind_bus(module);
    bindings::bind_memory(module);
    bindings::bind_driver(module);
    bindings::bind_can(module);
}
