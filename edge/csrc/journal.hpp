// Append-only file of records that survives a crash or a power loss at any moment, and damage to the file afterwards.
//
//   header   { "EDGEJRN2" | u64 id | u32 check } twice                                              little-endian
//   record   { u32 length | u32 check of the length | payload | u32 check of everything so far }*
//
// Checks are CRC-32, and each begins from the one before it and the record's number, back to the journal's random id:
// a record is accepted only behind the very records it was written behind. One that is repeated, moved, left over from
// a journal that lay in the same blocks, or from before a repair does not fit. The length has a check of its own, so
// that a damaged one neither hides what follows nor asks for memory.
//
// Promised, on a disk and a filesystem that keep what fdatasync and fsync said was written:
// - append() returns after the record is on the disk, and so is the file's name.
// - Opening, and read(), give the longest run of intact records from the first on. A crash at any moment loses no
//   record whose append() returned; it may leave the one that was being appended. One to three flipped bits in a
//   record are always noticed, any other damage but for 1 in 2^32; one copy of the header may be lost altogether.
// - Behind the first damaged record nothing is believed, since it followed what is not known any more. It is not
//   destroyed either: opening moves it to `<path>.damaged-<n>`, which is on the disk before the journal is cut. Only
//   an incomplete last record, which a crash cut short, is dropped.
// - An append() that throws leaves the file ending with the record before. After a failed fdatasync, or if the file
//   cannot be cut back, the journal refuses everything: what the kernel then has in memory is no proof of what is on
//   the disk (https://lwn.net/Articles/752063/), and only opening it again tells.
// - One process writes at a time (a lock on the open file, which ends with the process).
//
// Not promised: anything on a disk that lies about flushes; to notice that the whole file was put back as it was
// earlier, or cut at the end of a record (nothing tells that from a journal which ended there); locks between machines
// on a network filesystem that has none.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <string>

#include "disk.hpp"

namespace edgearm {

class Journal {
public:
    using Record = std::span<const std::uint8_t>;
    using Replay = std::function<void(Record)>;
    static constexpr std::size_t kLongest = 1024;  // bytes of a payload

    struct Recovery {
        std::uint64_t records = 0;
        std::uint64_t torn_bytes = 0;     // of a last record that a crash cut short
        std::uint64_t damaged_bytes = 0;  // from the first damaged record to the end
        std::string kept;                 // where opening moved them; read() leaves them where they are
        bool in_use = false;              // read(): a process has it open for writing
    };

    // Opens or creates `path`, hands every intact record to `replay`, and sets aside what is damaged. Throws Error.
    Journal(std::string path, const Replay& replay);
    // The same without changing or locking anything. Throws Error.
    static Recovery read(const std::string& path, const Replay& replay);

    // Returns once the record is on the disk; allocates nothing. Throws Error, and then the record is not part of it.
    void append(Record payload);

    const Recovery& recovery() const { return recovery_; }

private:
    static constexpr std::size_t kLengthAndCheck = 8;
    static constexpr std::size_t kCheck = 4;

    struct Scan;  // where the intact records end

    static Scan scan(int file, const std::string& path, const Replay& replay);
    void repair(const Scan& found);
    void keep_aside(const Scan& found);
    void write_headers(std::span<const std::uint8_t> copy);

    std::string path_;
    OpenFile file_;
    std::uint64_t size_ = 0;    // where the next record goes
    std::uint64_t number_ = 0;  // of the next record
    std::uint32_t check_ = 0;   // of the last one
    bool broken_ = false;
    std::array<std::uint8_t, kLengthAndCheck + kLongest + kCheck> buffer_{};
    Recovery recovery_;
};

}  // namespace edgearm
