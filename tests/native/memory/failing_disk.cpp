#include "failing_disk.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

FailingDisk& FailingDisk::get() {
    static FailingDisk disk;
    return disk;
}

bool FailingDisk::Call::fails() {
    if (before < 0 || before-- > 0) {
        return false;
    }
    errno = error;
    return true;
}

// The linker takes these before the C library's.
extern "C" {

int fdatasync(int file) {
    return FailingDisk::get().fdatasync.fails() ? -1 : static_cast<int>(::syscall(SYS_fdatasync, file));
}

int fsync(int file) {
    return FailingDisk::get().fsync.fails() ? -1 : static_cast<int>(::syscall(SYS_fsync, file));
}

int ftruncate(int file, off_t size) noexcept {
    return FailingDisk::get().ftruncate.fails() ? -1 : static_cast<int>(::syscall(SYS_ftruncate, file, size));
}

ssize_t pread(int file, void* to, size_t size, off_t offset) {
    return FailingDisk::get().pread.fails() ? -1 : ::syscall(SYS_pread64, file, to, size, offset);
}

ssize_t pwrite(int file, const void* data, size_t size, off_t offset) {
    FailingDisk& disk = FailingDisk::get();
    if (disk.pwrite.fails()) {
        return -1;
    }
    if (disk.room == 0) {
        errno = ENOSPC;
        return -1;
    }
    const ssize_t written =
        ::syscall(SYS_pwrite64, file, data, std::min({size, disk.longest_write, disk.room}), offset);
    disk.room -= written > 0 ? static_cast<std::size_t>(written) : 0;
    return written;
}

int fstat(int file, struct stat* status) noexcept {
    return FailingDisk::get().fstat.fails() ? -1 : static_cast<int>(::syscall(SYS_fstat, file, status));
}

int fcntl(int file, int command, ...) {
    __builtin_va_list rest;
    __builtin_va_start(rest, command);
    void* argument = __builtin_va_arg(rest, void*);
    __builtin_va_end(rest);
    return FailingDisk::get().fcntl.fails() ? -1 : static_cast<int>(::syscall(SYS_fcntl, file, command, argument));
}
}
