// Conversions shared by the binding files. No logic here: values go in, values come out.
#pragma once

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <string>

#include "arm.hpp"
#include "control_loop.hpp"

namespace edgearm::bindings {

namespace py = pybind11;

using Array = py::array_t<double, py::array::c_style | py::array::forcecast>;

// ValueError unless `array` is (kJoints,).
Joints to_joints(const Array& array);
Array from_joints(const Joints& joints);

// The loop's published state as a dict; the keys are those of edge/_core.pyi.
py::dict from_published(const Published& published, const Arm& arm);

void bind_arm(py::module_& module);
void bind_bus(py::module_& module);
void bind_loop(py::module_& module);
void bind_memory(py::module_& module);
void bind_driver(py::module_& module);
void bind_can(py::module_& module);

}  // namespace edgearm::bindings
