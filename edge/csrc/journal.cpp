#include "journal.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <random>
#include <string_view>
#include <utility>

#include "disk.hpp"
#include "error.hpp"

namespace edgearm {

namespace {

constexpr std::string_view kMagic = "EDGEJRN2";
constexpr std::size_t kFamily = 7;  // bytes of the magic that all versions share
constexpr std::size_t kHeaderCopy = 8 + 8 + 4;
constexpr std::size_t kHeader = 2 * kHeaderCopy;
constexpr std::size_t kBlock = 65536;

std::uint32_t length_check(std::uint32_t previous, std::uint64_t number, std::uint32_t length) {
    std::array<std::uint8_t, 16> bytes;
    put(bytes.data(), previous);
    put(bytes.data() + 4, number);
    put(bytes.data() + 12, length);
    return crc32(bytes);
}

// The lock of a whole file. It belongs to the open file, so that it can be asked for without being taken.
struct flock write_lock() {
    struct flock lock{};
    lock.l_type = F_WRLCK;
    lock.l_whence = SEEK_SET;
    return lock;
}

// Its size. A device might be read without end.
std::uint64_t size_of_regular(int file, const std::string& path) {
    struct stat status{};
    if (::fstat(file, &status) != 0) {
        fail(path, "examined");
    }
    if (!S_ISREG(status.st_mode)) {
        throw Error(Error::Kind::config, path + " is not a journal", "a regular file", "something else",
                    "choose another journal path");
    }
    return static_cast<std::uint64_t>(status.st_size);
}

void refuse_other_files(std::span<const std::uint8_t> begin, const std::string& path) {
    const auto starts = [](std::span<const std::uint8_t> bytes, std::size_t count) {
        return std::memcmp(bytes.data(), kMagic.data(), count) == 0;
    };
    if (starts(begin, std::min(begin.size(), kMagic.size())) ||
        (begin.size() == kHeader && starts(begin.subspan(kHeaderCopy), kMagic.size()))) {
        return;
    }
    const bool version = begin.size() >= kFamily && starts(begin, kFamily);
    throw Error(Error::Kind::config, path + " is not a journal", "a file that starts with EDGEJRN2",
                version ? "a journal of another version, left untouched" : "another file, left untouched",
                version ? "go on with the version that made it, or move it away" : "choose another journal path");
}

}  // namespace

struct Journal::Scan {
    std::uint64_t size = 0;                          // of the file
    std::uint64_t intact = 0;                        // where the last intact record ends; 0 without a header
    std::array<std::uint8_t, kHeaderCopy> header{};  // a whole copy
    bool both_headers = true;                        // are whole
    std::uint64_t records = 0;
    std::uint32_t check = 0;  // of the last intact record
    bool torn = false;        // what follows is the beginning of a record and nothing else
};

Journal::Scan Journal::scan(int file, const std::string& path, const Replay& replay) {
    Scan found;
    found.size = size_of_regular(file, path);
    std::array<std::uint8_t, kLengthAndCheck + kLongest + kCheck> bytes;
    const std::size_t known = read_at(file, bytes.data(), kHeader, 0, path);
    refuse_other_files({bytes.data(), known}, path);
    if (known < kHeader) {  // its creation was cut short: nothing was recorded yet
        found.torn = true;
        return found;
    }
    for (const std::size_t copy : {kHeaderCopy, std::size_t{0}}) {
        const std::span<const std::uint8_t> header(bytes.data() + copy, kHeaderCopy);
        const auto check = get<std::uint32_t>(header.data() + kHeaderCopy - kCheck);
        if (std::memcmp(header.data(), kMagic.data(), kMagic.size()) != 0 ||
            crc32(header.first(kHeaderCopy - kCheck)) != check) {
            found.both_headers = false;
            continue;
        }
        std::copy(header.begin(), header.end(), found.header.begin());
        found.check = check;
        found.intact = kHeader;
    }
    while (found.intact > 0 && found.intact < found.size) {
        if (read_at(file, bytes.data(), kLengthAndCheck, found.intact, path) < kLengthAndCheck) {
            found.torn = true;
            break;
        }
        const auto length = get<std::uint32_t>(bytes.data());
        const std::uint32_t begun = length_check(found.check, found.records, length);
        if (length == 0 || length > kLongest || begun != get<std::uint32_t>(bytes.data() + 4)) {
            break;
        }
        const std::size_t whole = kLengthAndCheck + length + kCheck;
        if (read_at(file, bytes.data(), whole, found.intact, path) < whole) {
            found.torn = true;
            break;
        }
        const Record payload(bytes.data() + kLengthAndCheck, length);
        const std::uint32_t check = crc32(payload, begun);
        if (check != get<std::uint32_t>(payload.data() + length)) {
            break;
        }
        replay(payload);
        found.check = check;
        found.records += 1;
        found.intact += whole;
    }
    return found;
}

Journal::Recovery Journal::read(const std::string& path, const Replay& replay) {
    const OpenFile file(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
    if (file.number < 0) {
        fail(path, "read");
    }
    struct flock lock = write_lock();
    if (::fcntl(file.number, F_OFD_GETLK, &lock) != 0) {
        fail(path, "read");
    }
    const Scan found = scan(file.number, path, replay);
    Recovery recovery;
    recovery.in_use = lock.l_type != F_UNLCK;
    recovery.records = found.records;
    (found.torn ? recovery.torn_bytes : recovery.damaged_bytes) = found.size - found.intact;
    return recovery;
}

Journal::Journal(std::string path, const Replay& replay)
    : path_(std::move(path)), file_(::open(path_.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NONBLOCK, 0644)) {
    if (file_.number < 0) {
        fail(path_, "opened");
    }
    struct flock lock = write_lock();
    if (::fcntl(file_.number, F_OFD_SETLK, &lock) != 0) {
        if (errno != EAGAIN) {
            fail(path_, "locked");
        }
        throw Error(Error::Kind::config, "journal " + path_ + " is in use", "one process at a time",
                    "a lock held by another", "end the other run, or choose another journal path");
    }
    repair(scan(file_.number, path_, replay));
}

void Journal::repair(const Scan& found) {
    size_ = found.intact;
    number_ = recovery_.records = found.records;
    check_ = found.check;
    if (found.intact < found.size) {
        (found.torn ? recovery_.torn_bytes : recovery_.damaged_bytes) = found.size - found.intact;
        if (!found.torn) {
            keep_aside(found);
        }
        if (::ftruncate(file_.number, static_cast<off_t>(found.intact)) != 0 || ::fsync(file_.number) != 0) {
            fail(path_, "repaired");
        }
    }
    if (found.intact == 0) {
        sync_directory(path_);
        std::array<std::uint8_t, kHeaderCopy> header;
        std::memcpy(header.data(), kMagic.data(), kMagic.size());
        std::random_device random;
        put(header.data() + kMagic.size(), std::uint64_t{random()} << 32 | random());
        check_ = crc32(std::span(header).first(kHeaderCopy - kCheck));
        put(header.data() + kHeaderCopy - kCheck, check_);
        write_headers(header);
    } else if (!found.both_headers) {
        write_headers(found.header);
    }
}

void Journal::write_headers(std::span<const std::uint8_t> copy) {
    std::array<std::uint8_t, kHeader> both;
    std::copy(copy.begin(), copy.end(), both.begin());
    std::copy(copy.begin(), copy.end(), both.begin() + kHeaderCopy);
    if (!write_at(file_.number, both.data(), both.size(), 0) || ::fdatasync(file_.number) != 0) {
        fail(path_, "written");
    }
    size_ = std::max<std::uint64_t>(size_, kHeader);
}

void Journal::keep_aside(const Scan& found) {
    OpenFile kept(-1);
    for (int n = 1; kept.number < 0; ++n) {
        recovery_.kept = path_ + ".damaged-" + std::to_string(n);
        kept.number = ::open(recovery_.kept.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
        if (kept.number < 0 && errno != EEXIST) {
            fail(path_, "repaired: its damaged end cannot be kept as " + recovery_.kept);
        }
    }
    std::array<std::uint8_t, kBlock> block;
    for (std::uint64_t at = found.intact; at < found.size; at += block.size()) {
        const std::size_t got = read_at(file_.number, block.data(), block.size(), at, path_);
        if (!write_at(kept.number, block.data(), got, at - found.intact)) {
            fail(path_, "repaired: its damaged end cannot be kept as " + recovery_.kept);
        }
    }
    if (::fsync(kept.number) != 0) {
        fail(path_, "repaired: its damaged end cannot be kept as " + recovery_.kept);
    }
    sync_directory(recovery_.kept);
}

void Journal::append(Record payload) {
    if (broken_) {
        throw Error(Error::Kind::config, "journal " + path_ + " takes no more records",
                    "a disk that keeps what was written", "an earlier record that may or may not be on it",
                    "check the disk, then start again: opening the journal tells what it holds");
    }
    if (payload.empty() || payload.size() > kLongest) {
        throw Error(Error::Kind::config, "a record does not fit into journal " + path_,
                    "1 to " + std::to_string(kLongest) + " bytes", std::to_string(payload.size()), "shorten it");
    }
    const auto length = static_cast<std::uint32_t>(payload.size());
    const std::uint32_t begun = length_check(check_, number_, length);
    const std::uint32_t check = crc32(payload, begun);
    put(buffer_.data(), length);
    put(buffer_.data() + 4, begun);
    std::copy(payload.begin(), payload.end(), buffer_.begin() + kLengthAndCheck);
    put(buffer_.data() + kLengthAndCheck + length, check);
    const std::size_t whole = kLengthAndCheck + length + kCheck;
    const bool written = write_at(file_.number, buffer_.data(), whole, size_);
    if (!written || ::fdatasync(file_.number) != 0) {
        const int reason = errno;
        // A torn record is cut off, so that the next one, if the disk has room again, follows the last intact one.
        const bool cut = ::ftruncate(file_.number, static_cast<off_t>(size_)) == 0;
        broken_ = written || !cut;
        errno = reason;
        fail(path_, "written");
    }
    size_ += whole;
    number_ += 1;
    check_ = check;
}

}  // namespace edgearm
