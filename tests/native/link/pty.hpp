// A serial line without an adapter: the other end of a pty in the hands of a test.
#pragma once

#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <unistd.h>

#include <filesystem>
#include <stdexcept>
#include <string>

namespace edgearm::test {

class Pty {
public:
    Pty() : master_(::posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC)) {
        if (master_ < 0 || ::grantpt(master_) != 0 || ::unlockpt(master_) != 0) {
            throw std::runtime_error("no pty");
        }
        path_ = ::ptsname(master_);
    }
    ~Pty() { hang_up(); }
    Pty(const Pty&) = delete;
    Pty& operator=(const Pty&) = delete;

    const std::string& path() const { return path_; }
    int master() const { return master_; }

    void say(const std::string& bytes) { (void)!::write(master_, bytes.data(), bytes.size()); }
    // What came within 100 ms, at most `most` bytes.
    std::string hear(std::size_t most = 65'536) {
        std::string heard;
        pollfd waiting{master_, POLLIN, 0};
        while (heard.size() < most && ::poll(&waiting, 1, 100) > 0 && (waiting.revents & POLLIN) != 0) {
            char buffer[4096];
            const ssize_t got = ::read(master_, buffer, sizeof(buffer));
            if (got <= 0) {
                break;
            }
            heard.append(buffer, static_cast<std::size_t>(got));
        }
        return heard;
    }
    // As an adapter that is unplugged.
    void hang_up() {
        if (master_ >= 0) {
            ::close(master_);
        }
        master_ = -1;
    }

private:
    int master_;
    std::string path_;
};

// A folder that goes with the test.
class Folder {
public:
    Folder() {
        std::string name = std::filesystem::temp_directory_path() / "edgearm-XXXXXX";
        if (::mkdtemp(name.data()) == nullptr) {
            throw std::runtime_error("no temporary folder");
        }
        path_ = name;
    }
    ~Folder() { std::filesystem::remove_all(path_); }
    Folder(const Folder&) = delete;
    Folder& operator=(const Folder&) = delete;

    const std::filesystem::path& path() const { return path_; }

private:
    std::filesystem::path path_;
};

}  // namespace edgearm::test
