#include "bindings.hpp"
#include "subtask_memory.hpp"

namespace edgearm::bindings {

namespace {

using Pose = std::array<double, 4>;

// Fits no thread's stack by right, so it is kept apart.
std::unique_ptr<MemoryState> state_of(const SubtaskMemory& memory) {
    auto state = std::make_unique<MemoryState>();
    memory.read(*state);
    return state;
}

RememberedPose to_pose(const Pose& pose) {
    return {pose[0], pose[1], pose[2], pose[3]};
}

py::object from_pose(bool known, const RememberedPose& pose) {
    return known ? py::object(py::make_tuple(pose.x, pose.y, pose.z, pose.yaw)) : py::object(py::none());
}

template <std::size_t Capacity>
py::str from_text(const FixedText<Capacity>& text) {
    return {text.view().data(), text.view().size()};
}

template <std::size_t Capacity>
py::object or_none(const FixedText<Capacity>& text) {
    return text.empty() ? py::object(py::none()) : py::object(from_text(text));
}

py::object place_of(const SubtaskMemory& memory, std::string_view object) {
    const auto state = state_of(memory);
    const ObjectRecord* known = state->find(object);
    return known == nullptr ? py::object(py::none()) : from_pose(known->was_grasped, known->first_grasp);
}

py::object released_at(const SubtaskMemory& memory, std::string_view object) {
    const auto state = state_of(memory);
    const ObjectRecord* known = state->find(object);
    return known == nullptr ? py::object(py::none()) : from_pose(known->was_released, known->last_release);
}

py::dict places(const SubtaskMemory& memory) {
    const auto state = state_of(memory);
    py::dict found;
    for (const ObjectRecord& record : state->objects()) {
        if (record.was_grasped) {
            found[from_text(record.object)] = from_pose(true, record.first_grasp);
        }
    }
    return found;
}

// (call, outcome) of every call that has ended.
py::tuple transcript(const SubtaskMemory& memory) {
    const auto state = state_of(memory);
    py::list lines;
    for (const CallRecord& record : state->calls()) {
        if (!record.outcome.empty()) {
            lines.append(py::make_tuple(from_text(record.call), from_text(record.outcome)));
        }
    }
    return py::tuple(lines);
}

py::object running(const SubtaskMemory& memory) {
    const auto state = state_of(memory);
    return state->running() ? py::object(from_text(state->calls().back().call)) : py::object(py::none());
}

py::list calls(const SubtaskMemory& memory) {
    const auto state = state_of(memory);
    py::list rows;
    for (const CallRecord& record : state->calls()) {
        py::dict row;
        row["call"] = from_text(record.call);
        row["object"] = from_text(record.object);
        row["outcome"] = or_none(record.outcome);
        row["begin_ns"] = record.begin_ns;
        row["end_ns"] = record.outcome.empty() ? py::object(py::none()) : py::object(py::int_(record.end_ns));
        rows.append(row);
    }
    return rows;
}

py::dict recovery(const SubtaskMemory& memory) {
    const Journal::Recovery& found = memory.recovery();
    py::dict told;
    told["records"] = found.records;
    told["torn_bytes"] = found.torn_bytes;
    told["damaged_bytes"] = found.damaged_bytes;
    told["kept"] = found.kept;
    told["in_use"] = found.in_use;
    return told;
}

}  // namespace

void bind_memory(py::module_& module) {
    // With a journal, opening and every change wait for the disk.
    using NoGil = py::call_guard<py::gil_scoped_release>;
    py::class_<SubtaskMemory>(module, "SubtaskMemory")
        .def(py::init<const std::string&>(), py::arg("journal_path") = "", NoGil())
        .def_static("peek", &SubtaskMemory::peek, py::arg("journal_path"), NoGil())
        .def("clear", &SubtaskMemory::clear, py::arg("task"), NoGil())
        .def("begin", &SubtaskMemory::begin, py::arg("call_text"), py::arg("object"), py::arg("now_ns"), NoGil())
        .def("end", &SubtaskMemory::end, py::arg("outcome"), py::arg("now_ns"), NoGil())
        .def(
            "grasped",
            [](SubtaskMemory& memory, std::string_view object, const Pose& pose) {
                memory.grasped(object, to_pose(pose));
            },
            py::arg("object"), py::arg("pose"), NoGil())
        .def(
            "released",
            [](SubtaskMemory& memory, std::string_view object, const Pose& pose) {
                memory.released(object, to_pose(pose));
            },
            py::arg("object"), py::arg("pose"), NoGil())
        .def("conclude", &SubtaskMemory::conclude, py::arg("ending"), py::arg("now_ns"), NoGil())
        .def("place_of", place_of, py::arg("object"))
        .def("released_at", released_at, py::arg("object"))
        .def("places", places)
        .def("transcript", transcript)
        .def("calls", calls)
        .def_property_readonly("task", [](const SubtaskMemory& memory) { return from_text(state_of(memory)->task); })
        .def_property_readonly("running", running)
        .def_property_readonly("held", [](const SubtaskMemory& memory) { return or_none(state_of(memory)->held); })
        .def_property_readonly("ending", [](const SubtaskMemory& memory) { return or_none(state_of(memory)->ending); })
        .def_property_readonly("recovery", recovery);
}

}  // namespace edgearm::bindings
