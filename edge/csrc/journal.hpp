// Append-only file of records that survives a crash or power loss in the middle of a write.
//
//   "EDGEJRN1"  { u32 length | u32 CRC-32 of the payload | payload }*       little-endian
//
// Opening reads every intact record; the first torn or damaged one and what follows it is cut off, so that new records
// never land behind garbage.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <string>

namespace edgearm {

// CRC-32 of IEEE 802.3 (reflected, polynomial 0xEDB88320).
std::uint32_t crc32(std::span<const std::uint8_t> bytes);

class Journal {
public:
    using Record = std::span<const std::uint8_t>;

    // Opens or creates `path` and hands every intact record to `replay`. Throws Error.
    Journal(std::string path, const std::function<void(Record)>& replay);
    ~Journal();
    Journal(const Journal&) = delete;
    Journal& operator=(const Journal&) = delete;

    // Returns once the record is on the disk. Throws Error; the file then ends with the record before.
    void append(Record payload);

    std::size_t cut_bytes() const { return cut_; }

private:
    [[noreturn]] void fail(const std::string& doing) const;

    std::string path_;
    int file_ = -1;
    std::size_t size_ = 0;
    std::size_t cut_ = 0;
};

}  // namespace edgearm
