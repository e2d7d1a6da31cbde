#include "serial_names.hpp"

#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <cinttypes>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <optional>
#include <vector>

namespace edgearm::link {

namespace {

namespace fs = std::filesystem;

// Calls `each` with every entry until it says true. A folder that goes away meanwhile has no more of them: /proc/<pid>
// does so whenever a process ends.
template <class Each>
void look_through(const fs::path& folder, Each each) {
    std::error_code error;
    fs::directory_iterator entry(folder, error);
    while (!error && entry != fs::directory_iterator() && !each(entry->path())) {
        entry.increment(error);
    }
}

std::string describe(long pid) {
    if (pid == ::getpid()) {
        return "this process";
    }
    std::ifstream file("/proc/" + std::to_string(pid) + "/comm");
    std::string name;
    std::getline(file, name);
    return "process " + std::to_string(pid) + (name.empty() ? "" : " (" + name + ")");
}

// Who holds the lock on the device's file, from the kernel's list of locks.
std::optional<long> lock_holder(const struct stat& device) {
    std::ifstream locks("/proc/locks");
    for (std::string line; std::getline(locks, line);) {
        long pid = 0;
        unsigned major_number = 0;
        unsigned minor_number = 0;
        std::uintmax_t inode = 0;
        if (std::sscanf(line.c_str(), "%*d: FLOCK %*s %*s %ld %x:%x:%" SCNuMAX, &pid, &major_number, &minor_number,
                        &inode) == 4 &&
            pid > 0 && major_number == major(device.st_dev) && minor_number == minor(device.st_dev) &&
            inode == device.st_ino) {
            return pid;
        }
    }
    return std::nullopt;
}

// A program that took the port without a lock has it among its open files, if those may be seen.
std::optional<long> opener(const struct stat& device) {
    std::optional<long> found;
    look_through("/proc", [&](const fs::path& process) {
        const std::string name = process.filename();
        if (name.find_first_not_of("0123456789") == std::string::npos) {
            look_through(process / "fd", [&](const fs::path& file) {
                struct stat seen{};
                if (::stat(file.c_str(), &seen) == 0 && S_ISCHR(seen.st_mode) && seen.st_rdev == device.st_rdev &&
                    seen.st_ino == device.st_ino) {
                    found = std::stol(name);
                }
                return found.has_value();
            });
        }
        return found.has_value();
    });
    return found;
}

// Whether the USB device that a port is on has a serial number.
bool has_serial_number(const fs::path& device, const fs::path& system) {
    std::error_code error;
    fs::path at = fs::canonical(system / "class/tty" / device.filename() / "device", error);
    // Its interface, and of some adapters the port itself, are below the USB device.
    for (; !error && at.has_relative_path(); at = at.parent_path()) {
        if (fs::exists(at / "idVendor", error)) {
            std::ifstream file(at / "serial");
            std::string number;
            return std::getline(file, number) && !number.empty();
        }
    }
    return false;
}

}  // namespace

std::string stable_name(const std::string& path, const std::string& devices, const std::string& system) {
    std::error_code error;
    if (fs::is_symlink(path, error)) {
        return path;
    }
    const fs::path device = fs::canonical(path, error);
    if (error) {
        return path;
    }
    // Adapters of one make without a serial number all have one name in by-id, which leads to another of them when the
    // one that it led to is unplugged. In by-path the name is that of the socket.
    const fs::path names = fs::path(devices) / "serial" / (has_serial_number(device, system) ? "by-id" : "by-path");
    std::string best;
    look_through(names, [&](const fs::path& entry) {
        std::error_code dangling;
        const std::string name = entry;
        if (fs::canonical(entry, dangling) == device && (best.empty() || name < best)) {
            best = name;
        }
        return false;
    });
    return best.empty() ? path : best;
}

std::string holder_of(const std::string& path) {
    struct stat device{};
    if (::stat(path.c_str(), &device) != 0) {
        return "";
    }
    std::optional<long> pid = lock_holder(device);
    if (!pid) {
        pid = opener(device);
    }
    return pid ? describe(*pid) : "";
}

}  // namespace edgearm::link
