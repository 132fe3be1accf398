# Toolchain: aarch64 programs built on another machine, run by qemu-user. The libraries come from the folder that
# cmake/aarch64-sysroot.sh fills (build/sysroot-aarch64), so nothing is installed for a second architecture.
set(CMAKE_SYSTEM_NAME Linux)
set(CMAKE_SYSTEM_PROCESSOR aarch64)
set(CMAKE_C_COMPILER aarch64-linux-gnu-gcc)

get_filename_component(CMAKE_SYSROOT "${CMAKE_CURRENT_LIST_DIR}/../build/sysroot-aarch64" ABSOLUTE)
set(CMAKE_FIND_ROOT_PATH_MODE_PROGRAM NEVER)
set(CMAKE_FIND_ROOT_PATH_MODE_LIBRARY ONLY)
set(CMAKE_FIND_ROOT_PATH_MODE_INCLUDE ONLY)
set(CMAKE_FIND_ROOT_PATH_MODE_PACKAGE ONLY)
set(ENV{PKG_CONFIG_DIR} "")
set(ENV{PKG_CONFIG_SYSROOT_DIR} "${CMAKE_SYSROOT}")
set(ENV{PKG_CONFIG_LIBDIR} "${CMAKE_SYSROOT}/usr/lib/aarch64-linux-gnu/pkgconfig:${CMAKE_SYSROOT}/usr/share/pkgconfig")

# The emulator is told everything through the environment (QEMU_LD_PREFIX, QEMU_CPU), so that programs started by a
# program inherit it. QEMU_CPU chooses the processor: max (everything), cortex-a53 (no dot product),
# max,sve-default-vector-length=32 (vectors of 32 bytes).
find_program(SLUICE_QEMU NAMES qemu-aarch64 qemu-aarch64-static)
if(SLUICE_QEMU)
  set(CMAKE_CROSSCOMPILING_EMULATOR "${CMAKE_COMMAND};-E;env;QEMU_LD_PREFIX=${CMAKE_SYSROOT};${SLUICE_QEMU}")
endif()
