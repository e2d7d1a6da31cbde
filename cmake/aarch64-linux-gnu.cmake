# aarch64 Linux from another machine, with Debian's cross compiler. EDGEARM_SYSROOT is the other system's root:
# tests/aarch64/sysroot.sh unpacks one, and a copy of a board's own does as well.
set(CMAKE_SYSTEM_NAME Linux)
set(CMAKE_SYSTEM_PROCESSOR aarch64)
set(CMAKE_C_COMPILER aarch64-linux-gnu-gcc)
set(CMAKE_CXX_COMPILER aarch64-linux-gnu-g++)

# What tries the compiler out is configured separately and is told of no other variable.
list(APPEND CMAKE_TRY_COMPILE_PLATFORM_VARIABLES EDGEARM_SYSROOT)
if(NOT EXISTS "${EDGEARM_SYSROOT}/usr/include")
  message(FATAL_ERROR "expected the root of an aarch64 system in EDGEARM_SYSROOT, got '${EDGEARM_SYSROOT}': "
    "`make test-aarch64` unpacks one")
endif()
set(CMAKE_SYSROOT ${EDGEARM_SYSROOT})
set(CMAKE_FIND_ROOT_PATH_MODE_PROGRAM NEVER)
set(CMAKE_FIND_ROOT_PATH_MODE_LIBRARY ONLY)
set(CMAKE_FIND_ROOT_PATH_MODE_INCLUDE ONLY)

# With an emulator ctest runs the tests here.
find_program(EDGEARM_AARCH64_EMULATOR NAMES qemu-aarch64-static qemu-aarch64)
if(EDGEARM_AARCH64_EMULATOR)
  set(CMAKE_CROSSCOMPILING_EMULATOR ${EDGEARM_AARCH64_EMULATOR} -L ${EDGEARM_SYSROOT} -E EDGEARM_EMULATED=1)
endif()
