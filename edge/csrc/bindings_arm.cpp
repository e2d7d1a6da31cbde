#include "bindings.hpp"
#include "bridge_table.hpp"
#include "kinematics.hpp"

namespace edgearm::bindings {

namespace {

template <typename T, std::size_t N>
std::array<T, N> fixed(const py::handle& sequence) {
    return sequence.cast<std::array<T, N>>();
}

// An edge.arm.FeetechDrive, BridgeDrive or DamiaoDrive.
void add_drive(const py::handle& drive, ArmSpec& spec) {
    if (py::hasattr(drive, "tick_us")) {
        add_drive(drive.attr("servos"), spec);
        spec.drive = Drive::bridge;
        spec.bridge_tick_us = drive.attr("tick_us").cast<std::uint16_t>();
        return;
    }
    if (py::hasattr(drive, "ticks_per_turn")) {
        spec.drive = Drive::feetech;
        spec.model_number = drive.attr("model_number").cast<std::uint16_t>();
        spec.ticks_per_turn = drive.attr("ticks_per_turn").cast<std::uint32_t>();
        return;
    }
    spec.drive = Drive::damiao;
    spec.motor_timeout_s = drive.attr("timeout_ms").cast<double>() * 1e-3;
    for (const py::handle motor : drive.attr("motors")) {
        spec.motors.push_back({motor.attr("master_id").cast<std::uint16_t>(), motor.attr("model").cast<std::string>(),
                               motor.attr("max_position").cast<double>(), motor.attr("max_velocity").cast<double>(),
                               motor.attr("max_torque").cast<double>(), motor.attr("kp").cast<double>(),
                               motor.attr("kd").cast<double>(), motor.attr("zero").cast<double>(),
                               motor.attr("reversed").cast<bool>()});
    }
}

// An edge.arm.ArmDescription and, or None, a tuple of edge.calibration.JointCalibration: both are checked.
ArmSpec to_spec(const py::object& description, const py::object& calibration) {
    ArmSpec spec;
    spec.name = description.attr("name").cast<std::string>();
    add_drive(description.attr("drive"), spec);
    for (const py::handle joint : description.attr("joints")) {
        spec.joints.push_back({joint.attr("name").cast<std::string>(), joint.attr("servo_id").cast<std::uint8_t>(),
                               fixed<double, 3>(joint.attr("offset")), fixed<double, 4>(joint.attr("quat")),
                               fixed<double, 3>(joint.attr("axis")), joint.attr("lower").cast<double>(),
                               joint.attr("upper").cast<double>(), joint.attr("max_velocity").cast<double>(),
                               joint.attr("max_acceleration").cast<double>(), joint.attr("max_jerk").cast<double>(),
                               joint.attr("normalised").cast<bool>()});
    }
    for (const py::handle frame : description.attr("frames")) {
        spec.frames.push_back({frame.attr("name").cast<std::string>(), frame.attr("parent").cast<std::string>(),
                               fixed<double, 3>(frame.attr("offset")), fixed<double, 4>(frame.attr("quat"))});
    }
    if (!calibration.is_none()) {
        for (const py::handle servo : calibration) {
            spec.calibration.push_back(
                {servo.attr("homing_offset").cast<std::int32_t>(), servo.attr("range_min").cast<std::int32_t>(),
                 servo.attr("range_max").cast<std::int32_t>(), servo.attr("drive_mode").cast<int>() == 1});
        }
    }
    return spec;
}

py::tuple names(const Arm& arm) {
    py::tuple result(kJoints);
    for (std::size_t i = 0; i < kJoints; ++i) {
        result[i] = arm.spec().joints[i].name;
    }
    return result;
}

template <typename Field>
Array limit(const Arm& arm, Field field) {
    Joints values;
    for (std::size_t i = 0; i < kJoints; ++i) {
        values[i] = arm.limits()[i].*field;
    }
    return from_joints(values);
}

py::tuple forward_tuple(const Arm& arm, const Array& joints, const std::string& frame) {
    const auto pose = forward(arm, to_joints(joints), frame);
    if (!pose) {
        std::string known;
        for (const JointSpec& joint : arm.spec().joints) {
            known += joint.name + ", ";
        }
        for (const FrameSpec& spec : arm.spec().frames) {
            known += spec.name + ", ";
        }
        throw py::value_error("unknown frame '" + frame + "', expected one of " + known.substr(0, known.size() - 2));
    }
    const auto& [p, q] = *pose;
    return py::make_tuple(p[0], p[1], p[2], q[0], q[1], q[2], q[3]);
}

py::tuple pinch_tuple(const Arm& arm, const Array& joints) {
    const auto pose = pinch_pose(arm, to_joints(joints));
    if (!pose) {
        throw py::value_error("the arm description has no frame 'pinch'");
    }
    return py::make_tuple(pose->x, pose->y, pose->z, pose->yaw);
}

py::array_t<std::int32_t> to_ticks(const Arm& arm, const Array& joints) {
    const Joints values = to_joints(joints);
    py::array_t<std::int32_t> ticks(kJoints);
    for (std::size_t i = 0; i < kJoints; ++i) {
        ticks.mutable_at(i) = arm.to_ticks(i, values[i]);
    }
    return ticks;
}

Array from_ticks(const Arm& arm, const py::array_t<std::int32_t, py::array::c_style | py::array::forcecast>& ticks) {
    if (ticks.ndim() != 1 || static_cast<std::size_t>(ticks.shape(0)) != kJoints) {
        throw py::value_error("expected an array of shape (" + std::to_string(kJoints) + ",)");
    }
    Joints joints;
    for (std::size_t i = 0; i < kJoints; ++i) {
        joints[i] = arm.from_ticks(i, ticks.at(i));
    }
    return from_joints(joints);
}

}  // namespace

void bind_arm(py::module_& module) {
    py::class_<Arm>(module, "Arm")
        .def(py::init([](const py::object& path, const py::object& calibration) {
                 const py::object description = py::module_::import("edge.arm").attr("load_description")(path);
                 const py::object servos =
                     calibration.is_none()
                         ? calibration
                         : py::module_::import("edge.calibration").attr("load_calibration")(calibration, description);
                 return Arm(to_spec(description, servos));
             }),
             py::arg("path"), py::arg("calibration") = py::none())
        .def_property_readonly("names", names)
        .def_property_readonly("servo_ids",
                               [](const Arm& arm) {
                                   py::tuple ids(kJoints);
                                   for (std::size_t i = 0; i < kJoints; ++i) {
                                       ids[i] = arm.spec().joints[i].servo_id;
                                   }
                                   return ids;
                               })
        .def_property_readonly("lower", [](const Arm& arm) { return limit(arm, &safety_physical::lower); })
        .def_property_readonly("upper", [](const Arm& arm) { return limit(arm, &safety_physical::upper); })
        .def_property_readonly("max_velocity",
                               [](const Arm& arm) { return limit(arm, &safety_physical::max_velocity); })
        .def_property_readonly("max_acceleration",
                               [](const Arm& arm) { return limit(arm, &safety_physical::max_acceleration); })
        .def_property_readonly("max_jerk", [](const Arm& arm) { return limit(arm, &safety_physical::max_jerk); })
        .def("forward", forward_tuple, py::arg("joints"), py::arg("frame") = "pinch")
        .def("pinch_pose", pinch_tuple, py::arg("joints"))
        .def_property_readonly("bridge_config",
                               [](const Arm& arm) -> std::optional<std::uint32_t> {
                                   if (arm.spec().drive != Drive::bridge) {
                                       return std::nullopt;
                                   }
                                   const arm_table table = bridge_table(arm);
                                   return arm_config(&table);
                               })
        .def("to_ticks", to_ticks, py::arg("joints"))
        .def("from_ticks", from_ticks, py::arg("ticks"));
}

}  // namespace edgearm::bindings
