// A disk that fails on demand: this program's own versions of the system's calls, which the core then uses.
#pragma once

#include <cstddef>

struct FailingDisk {
    // Each call fails with `error` once its count is down to zero; negative counts never get there.
    struct Call {
        int before = -1;
        int error = 0;

        void fail(int error_number, int calls_before = 0) {
            before = calls_before;
            error = error_number;
        }
        bool fails();
    };

    Call fdatasync, fsync, ftruncate, pwrite, pread, fcntl, fstat;
    std::size_t longest_write = static_cast<std::size_t>(-1);  // more is written short
    std::size_t room = static_cast<std::size_t>(-1);           // bytes until the disk is full

    static FailingDisk& get();
    static void mend() { get() = FailingDisk(); }
};
