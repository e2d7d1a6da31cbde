#include "bindings.hpp"
#include "subtask_memory.hpp"

namespace edgearm::bindings {

namespace {

using Pose = std::array<double, 4>;

RememberedPose to_pose(const Pose& pose) {
    return {pose[0], pose[1], pose[2], pose[3]};
}

py::object from_pose(const std::optional<RememberedPose>& pose) {
    return pose ? py::object(py::make_tuple(pose->x, pose->y, pose->z, pose->yaw)) : py::object(py::none());
}

// (call, outcome) of every call that has ended.
py::tuple transcript(const SubtaskMemory& memory) {
    py::list lines;
    for (const CallRecord& record : memory.calls()) {
        if (!record.outcome.empty()) {
            lines.append(py::make_tuple(record.call, record.outcome));
        }
    }
    return py::tuple(lines);
}

py::object running(const SubtaskMemory& memory) {
    const std::vector<CallRecord> calls = memory.calls();
    return calls.empty() || !calls.back().outcome.empty() ? py::object(py::none()) : py::str(calls.back().call);
}

py::list calls(const SubtaskMemory& memory) {
    py::list rows;
    for (const CallRecord& record : memory.calls()) {
        py::dict row;
        row["call"] = record.call;
        row["object"] = record.object;
        row["outcome"] = record.outcome.empty() ? py::object(py::none()) : py::object(py::str(record.outcome));
        row["begin_ns"] = record.begin_ns;
        row["end_ns"] = record.outcome.empty() ? py::object(py::none()) : py::object(py::int_(record.end_ns));
        rows.append(row);
    }
    return rows;
}

py::dict places(const SubtaskMemory& memory) {
    py::dict found;
    for (const auto& [object, pose] : memory.places()) {
        found[py::str(object)] = from_pose(pose);
    }
    return found;
}

}  // namespace

void bind_memory(py::module_& module) {
    // A change with a journal waits for the disk.
    using NoGil = py::call_guard<py::gil_scoped_release>;
    py::class_<SubtaskMemory>(module, "SubtaskMemory")
        .def(py::init<const std::string&>(), py::arg("journal_path") = "")
        .def("clear", &SubtaskMemory::clear, py::arg("task"), NoGil())
        .def("begin", &SubtaskMemory::begin, py::arg("call_text"), py::arg("object"), py::arg("now_ns"), NoGil())
        .def("end", &SubtaskMemory::end, py::arg("outcome"), py::arg("now_ns"), NoGil())
        .def(
            "grasped",
            [](SubtaskMemory& memory, const std::string& object, const Pose& pose) {
                memory.grasped(object, to_pose(pose));
            },
            py::arg("object"), py::arg("pose"), NoGil())
        .def(
            "released",
            [](SubtaskMemory& memory, const std::string& object, const Pose& pose) {
                memory.released(object, to_pose(pose));
            },
            py::arg("object"), py::arg("pose"), NoGil())
        .def(
            "place_of",
            [](const SubtaskMemory& memory, const std::string& object) { return from_pose(memory.place_of(object)); },
            py::arg("object"))
        .def(
            "released_at",
            [](const SubtaskMemory& memory, const std::string& object) {
                return from_pose(memory.released_at(object));
            },
            py::arg("object"))
        .def("places", places)
        .def("transcript", transcript)
        .def("calls", calls)
        .def_property_readonly("task", &SubtaskMemory::task)
        .def_property_readonly("running", running)
        .def_property_readonly("cut_bytes", &SubtaskMemory::cut_bytes);
}

}  // namespace edgearm::bindings
