#include "journal.hpp"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <string_view>
#include <utility>
#include <vector>

#include "error.hpp"

namespace edgearm {

namespace {

constexpr std::string_view kMagic = "EDGEJRN1";
constexpr std::size_t kHeader = 8;
constexpr std::size_t kLongest = 4096;

constexpr std::array<std::uint32_t, 256> crc_table() {
    std::array<std::uint32_t, 256> table{};
    for (std::uint32_t i = 0; i < 256; ++i) {
        std::uint32_t value = i;
        for (int bit = 0; bit < 8; ++bit) {
            value = (value & 1) != 0 ? (value >> 1) ^ 0xEDB88320u : value >> 1;
        }
        table[i] = value;
    }
    return table;
}

constexpr auto kCrcTable = crc_table();

void put_u32(std::uint8_t* to, std::uint32_t value) {
    for (int i = 0; i < 4; ++i) {
        to[i] = static_cast<std::uint8_t>(value >> (8 * i));
    }
}

std::uint32_t get_u32(const std::uint8_t* from) {
    std::uint32_t value = 0;
    for (int i = 0; i < 4; ++i) {
        value |= std::uint32_t{from[i]} << (8 * i);
    }
    return value;
}

bool write_all(int file, const void* data, std::size_t size) {
    const auto* at = static_cast<const std::uint8_t*>(data);
    while (size > 0) {
        const ssize_t written = ::write(file, at, size);
        if (written < 0 && errno == EINTR) {
            continue;
        }
        if (written <= 0) {
            return false;
        }
        at += written;
        size -= static_cast<std::size_t>(written);
    }
    return true;
}

}  // namespace

std::uint32_t crc32(std::span<const std::uint8_t> bytes) {
    std::uint32_t crc = 0xFFFFFFFFu;
    for (const std::uint8_t byte : bytes) {
        crc = kCrcTable[(crc ^ byte) & 0xFF] ^ (crc >> 8);
    }
    return ~crc;
}

void Journal::fail(const std::string& doing) const {
    throw Error(Error::Kind::config, "journal " + path_ + " cannot be " + doing, "a writable file on a disk with room",
                std::strerror(errno), "choose another journal path, or free space");
}

Journal::Journal(std::string path, const std::function<void(Record)>& replay) : path_(std::move(path)) {
    file_ = ::open(path_.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644);
    if (file_ < 0) {
        fail("opened");
    }
    try {
        // A device might be read without end.
        struct stat status{};
        if (::fstat(file_, &status) != 0) {
            fail("opened");
        }
        if (!S_ISREG(status.st_mode)) {
            throw Error(Error::Kind::config, path_ + " is not a journal", "a regular file", "something else",
                        "choose another journal path");
        }
        if (::flock(file_, LOCK_EX | LOCK_NB) != 0) {
            throw Error(Error::Kind::config, "journal " + path_ + " is in use", "one process at a time",
                        "a lock held by another", "end the other run, or choose another journal path");
        }
        std::vector<std::uint8_t> bytes;
        std::array<std::uint8_t, 65536> block;
        ssize_t got = 0;
        while ((got = ::read(file_, block.data(), block.size())) > 0) {
            bytes.insert(bytes.end(), block.begin(), block.begin() + got);
        }
        if (got < 0) {
            fail("read");
        }
        // A file shorter than the magic is one whose creation was cut short.
        const std::size_t known = std::min(bytes.size(), kMagic.size());
        if (std::memcmp(bytes.data(), kMagic.data(), known) != 0) {
            throw Error(Error::Kind::config, path_ + " is not a journal", "a file that starts with EDGEJRN1",
                        "another file, left untouched", "choose another journal path");
        }
        size_ = known < kMagic.size() ? 0 : kMagic.size();
        while (size_ > 0 && bytes.size() - size_ >= kHeader) {
            const std::size_t length = get_u32(&bytes[size_]);
            if (length > kLongest || bytes.size() - size_ - kHeader < length) {
                break;
            }
            const Record payload(bytes.data() + size_ + kHeader, length);
            if (crc32(payload) != get_u32(&bytes[size_ + 4])) {
                break;
            }
            replay(payload);
            size_ += kHeader + length;
        }
        cut_ = bytes.size() - size_;
        if (::ftruncate(file_, static_cast<off_t>(size_)) != 0 || ::lseek(file_, 0, SEEK_END) < 0) {
            fail("repaired");
        }
        if (size_ == 0) {
            if (!write_all(file_, kMagic.data(), kMagic.size()) || ::fdatasync(file_) != 0) {
                fail("written");
            }
            size_ = kMagic.size();
        }
    } catch (...) {
        ::close(file_);
        throw;
    }
}

Journal::~Journal() {
    ::close(file_);
}

void Journal::append(Record payload) {
    std::vector<std::uint8_t> record(kHeader + payload.size());
    put_u32(record.data(), static_cast<std::uint32_t>(payload.size()));
    put_u32(record.data() + 4, crc32(payload));
    std::copy(payload.begin(), payload.end(), record.begin() + kHeader);
    if (payload.size() > kLongest || !write_all(file_, record.data(), record.size()) || ::fdatasync(file_) != 0) {
        const int reason = errno;
        // Best effort: opening cuts a torn record off as well.
        if (::ftruncate(file_, static_cast<off_t>(size_)) == 0) {
            ::lseek(file_, 0, SEEK_END);
        }
        errno = reason;
        fail("written");
    }
    size_ += record.size();
}

}  // namespace edgearm
