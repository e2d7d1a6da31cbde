// What the journal needs of files and bytes: whole reads and writes, little-endian words, CRC-32.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

namespace edgearm {

// A file descriptor that is closed with its owner; -1 when there is none.
struct OpenFile {
    explicit OpenFile(int file) : number(file) {}
    ~OpenFile();
    OpenFile(const OpenFile&) = delete;
    OpenFile& operator=(const OpenFile&) = delete;

    int number;
};

// Throws the Error that `errno` stands for: the journal at `path` cannot be read, written, …
[[noreturn]] void fail(const std::string& path, const std::string& doing);

// Interrupted and short writes are gone on with. False with errno set when not all could be written.
bool write_at(int file, const std::uint8_t* data, std::size_t size, std::uint64_t offset);

// How many bytes were read: fewer than asked for only at the end of the file. Throws Error; `path` is for its text.
std::size_t read_at(int file, std::uint8_t* to, std::size_t size, std::uint64_t offset, const std::string& path);

// A file that was made is in its directory for good only after this. Throws Error.
void sync_directory(const std::string& path);

// CRC-32 of IEEE 802.3 (reflected, polynomial 0xEDB88320) of what gave `before` followed by `bytes`.
std::uint32_t crc32(std::span<const std::uint8_t> bytes, std::uint32_t before = 0);

template <typename Word>
void put(std::uint8_t* to, Word value) {
    for (std::size_t i = 0; i < sizeof(Word); ++i) {
        to[i] = static_cast<std::uint8_t>(value >> (8 * i));
    }
}

template <typename Word>
Word get(const std::uint8_t* from) {
    Word value = 0;
    for (std::size_t i = 0; i < sizeof(Word); ++i) {
        value = static_cast<Word>(value | static_cast<Word>(Word{from[i]} << (8 * i)));
    }
    return value;
}

}  // namespace edgearm
