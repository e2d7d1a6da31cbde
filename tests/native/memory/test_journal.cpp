// The promises of journal.hpp against every cut and every flipped bit, and against a disk that fails at each step.
#include <doctest/doctest.h>
#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "error.hpp"
#include "failing_disk.hpp"
#include "journal.hpp"

using edgearm::Error;
using edgearm::Journal;

namespace {

namespace fs = std::filesystem;
using Texts = std::vector<std::string>;

constexpr std::size_t kHeader = 40;
constexpr std::size_t kAround = 12;  // bytes of a record besides its payload

// A directory of its own, in memory where the machine has that: nothing here is about the speed of a disk.
struct Place {
    fs::path directory;

    Place() {
        const char* root = ::access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp";
        std::string name = std::string(root) + "/edgearm-journal-XXXXXX";
        REQUIRE(::mkdtemp(name.data()) != nullptr);
        directory = name;
    }
    ~Place() {
        FailingDisk::mend();
        fs::remove_all(directory);
    }

    std::string path() const { return (directory / "journal").string(); }
    std::string kept(int n = 1) const { return path() + ".damaged-" + std::to_string(n); }
};

std::string contents(const std::string& path) {
    std::ifstream file(path, std::ios::binary);
    return {std::istreambuf_iterator<char>(file), {}};
}

void put_contents(const std::string& path, const std::string& bytes) {
    std::ofstream(path, std::ios::binary | std::ios::trunc) << bytes;
}

Journal::Record bytes_of(const std::string& text) {
    return {reinterpret_cast<const std::uint8_t*>(text.data()), text.size()};
}

Journal::Replay into(Texts& texts) {
    return [&texts](Journal::Record record) {
        texts.emplace_back(reinterpret_cast<const char*>(record.data()), record.size());
    };
}

Texts peek(const std::string& path, Journal::Recovery* told = nullptr) {
    Texts texts;
    const auto recovery = Journal::read(path, into(texts));
    if (told != nullptr) {
        *told = recovery;
    }
    return texts;
}

// Opens for writing and closes again.
Texts reopen(const std::string& path, Journal::Recovery* told = nullptr) {
    Texts texts;
    const Journal journal(path, into(texts));
    if (told != nullptr) {
        *told = journal.recovery();
    }
    return texts;
}

const Texts kTexts = {"swap the red cube and the green cube",
                      "pick(\"red cube\")",
                      "red cube",
                      std::string(3, '\0'),
                      "place_free()",
                      std::string(Journal::kLongest, 'x'),
                      "ok"};

std::vector<std::size_t> write_all(const std::string& path, const Texts& texts) {
    Texts before;
    Journal journal(path, into(before));
    std::vector<std::size_t> ends = {fs::file_size(path)};
    for (const std::string& text : texts) {
        journal.append(bytes_of(text));
        ends.push_back(fs::file_size(path));
    }
    return ends;
}

Texts first(std::size_t count) {
    return {kTexts.begin(), kTexts.begin() + static_cast<std::ptrdiff_t>(count)};
}

std::string flipped(std::string bytes, std::size_t at, int bit) {
    bytes[at] = static_cast<char>(bytes[at] ^ (1 << bit));
    return bytes;
}

}  // namespace

TEST_CASE("CRC-32 has its published check value, and goes on from where it was") {
    CHECK(edgearm::crc32(bytes_of("123456789")) == 0xCBF43926u);
    CHECK(edgearm::crc32(bytes_of("6789"), edgearm::crc32(bytes_of("12345"))) == 0xCBF43926u);
}

TEST_CASE("a journal gives back what was appended, and its size is what the format says") {
    const Place place;
    const auto ends = write_all(place.path(), kTexts);
    CHECK(ends.front() == kHeader);
    for (std::size_t i = 0; i < kTexts.size(); ++i) {
        CHECK(ends[i + 1] - ends[i] == kTexts[i].size() + kAround);
    }
    Journal::Recovery told;
    CHECK(peek(place.path(), &told) == kTexts);
    CHECK(reopen(place.path()) == kTexts);
    CHECK(told.records == kTexts.size());
    CHECK(told.torn_bytes + told.damaged_bytes == 0);
}

TEST_CASE("cut at every byte: exactly the records that are whole, and it goes on from there") {
    const Place place;
    const auto ends = write_all(place.path(), kTexts);
    const std::string whole = contents(place.path());
    for (std::size_t cut = 0; cut <= whole.size(); ++cut) {
        CAPTURE(cut);
        std::size_t intact = 0;
        while (intact < kTexts.size() && ends[intact + 1] <= cut) {
            ++intact;
        }
        put_contents(place.path(), whole.substr(0, cut));
        Journal::Recovery told;
        REQUIRE(peek(place.path()) == first(intact));
        REQUIRE(reopen(place.path(), &told) == first(intact));
        REQUIRE(told.torn_bytes == cut - (cut < kHeader ? 0 : ends[intact]));
        REQUIRE(told.damaged_bytes == 0);
        write_all(place.path(), {"after"});
        Texts expected = first(intact);
        expected.emplace_back("after");
        REQUIRE(peek(place.path()) == expected);
    }
    CHECK_FALSE(fs::exists(place.kept()));
}

TEST_CASE("every bit flipped: what came before it, nothing after it, and nothing that was never written") {
    const Place place;
    const auto ends = write_all(place.path(), kTexts);
    const std::string whole = contents(place.path());
    for (std::size_t at = 0; at < whole.size(); ++at) {
        CAPTURE(at);
        std::size_t intact = kTexts.size();
        if (at >= kHeader) {
            for (intact = 0; ends[intact + 1] <= at; ++intact) {
            }
        }
        for (int bit = 0; bit < 8; ++bit) {
            put_contents(place.path(), flipped(whole, at, bit));
            REQUIRE(peek(place.path()) == first(intact));
        }
        Journal::Recovery told;
        REQUIRE(reopen(place.path(), &told) == first(intact));
        REQUIRE(told.torn_bytes == 0);
        if (at < kHeader) {  // the other copy served, and both are whole again
            REQUIRE(contents(place.path()) == whole);
        } else {
            REQUIRE(told.damaged_bytes == whole.size() - ends[intact]);
            REQUIRE(contents(told.kept) == flipped(whole, at, 7).substr(ends[intact]));
            fs::remove(told.kept);
        }
    }
}

TEST_CASE("what a filesystem may leave behind is not believed") {
    const Place place;
    const auto ends = write_all(place.path(), kTexts);
    const std::string whole = contents(place.path());
    const auto record = [&](std::size_t n) { return whole.substr(ends[n], ends[n + 1] - ends[n]); };

    SUBCASE("zeros") {
        for (const std::size_t count : {8u, 12u, 4096u}) {
            put_contents(place.path(), whole + std::string(count, '\0'));
            CHECK(peek(place.path()) == kTexts);
        }
        put_contents(place.path(), whole.substr(0, ends[3]) + std::string(whole.size() - ends[3], '\0'));
        CHECK(peek(place.path()) == first(3));
    }
    SUBCASE("a record once more") {
        put_contents(place.path(), whole + record(6));
        CHECK(peek(place.path()) == kTexts);
    }
    SUBCASE("two records in each other's place") {
        put_contents(place.path(), whole.substr(0, ends[1]) + record(2) + record(1) + whole.substr(ends[3]));
        CHECK(peek(place.path()) == first(1));
    }
    SUBCASE("a record that is missing in the middle") {
        put_contents(place.path(), whole.substr(0, ends[2]) + whole.substr(ends[3]));
        CHECK(peek(place.path()) == first(2));
    }
    SUBCASE("the same record of another journal") {
        fs::remove(place.path());
        REQUIRE(write_all(place.path(), kTexts) == ends);
        const std::string other = contents(place.path());
        for (std::size_t n = 0; n < kTexts.size(); ++n) {
            put_contents(place.path(), whole.substr(0, ends[n]) + other.substr(ends[n]));
            CHECK(peek(place.path()) == first(n));
        }
    }
    SUBCASE("records from before a repair, behind a new one of the same length") {
        put_contents(place.path(), flipped(whole, ends[2] + 9, 0));
        write_all(place.path(), {"RED CUBE"});
        const std::string repaired = contents(place.path());
        REQUIRE(repaired.size() == ends[3]);
        put_contents(place.path(), repaired + whole.substr(ends[3]));
        CHECK(peek(place.path()) == Texts{kTexts[0], kTexts[1], "RED CUBE"});
    }
    SUBCASE("a length of four gigabytes, with the check that belongs to it") {
        std::string huge = whole.substr(0, ends[1]) + std::string(8, '\xFF');
        put_contents(place.path(), huge);
        CHECK(peek(place.path()) == first(1));
    }
}

TEST_CASE("what is cut off lies beside the journal, each time under a new name") {
    const Place place;
    const auto ends = write_all(place.path(), kTexts);
    const std::string whole = contents(place.path());
    for (int n = 1; n <= 3; ++n) {
        put_contents(place.path(), flipped(whole, ends[4] + 9, n));
        Journal::Recovery told;
        reopen(place.path(), &told);
        CHECK(told.kept == place.kept(n));
        CHECK(contents(told.kept) == flipped(whole, ends[4] + 9, n).substr(ends[4]));
    }
    SUBCASE("all of it, when both copies of the header are gone") {
        const std::string ruined = flipped(flipped(whole, 10, 0), 30, 0);
        put_contents(place.path(), ruined);
        Journal::Recovery told;
        CHECK(peek(place.path(), &told).empty());
        CHECK(told.damaged_bytes == whole.size());
        CHECK(told.kept.empty());
        CHECK(reopen(place.path(), &told).empty());
        CHECK(contents(told.kept) == ruined);
        CHECK(fs::file_size(place.path()) == kHeader);
    }
    SUBCASE("or the journal stays as it is, when there is no place for it") {
        const std::string path = (place.directory / std::string(250, 'j')).string();  // no name may be much longer
        put_contents(path, flipped(whole, ends[4] + 9, 0));
        CHECK_THROWS_AS(reopen(path), Error);
        CHECK(contents(path) == flipped(whole, ends[4] + 9, 0));
    }
    SUBCASE("more of it than is read at once") {
        const std::string long_tail = whole + std::string(200'000, 'y');
        put_contents(place.path(), long_tail);
        Journal::Recovery told;
        CHECK(reopen(place.path(), &told) == kTexts);
        CHECK(contents(told.kept) == long_tail.substr(whole.size()));
    }
}

TEST_CASE("other files are refused and left as they are") {
    const Place place;
    for (const char* text :
         {"no", "not a journal, though long enough to be one of them", "EDGEJRN1 of an earlier version"}) {
        put_contents(place.path(), text);
        CHECK_THROWS_WITH_AS(reopen(place.path()), (place.path() + " is not a journal").c_str(), Error);
        CHECK_THROWS_AS(peek(place.path()), Error);
        CHECK(contents(place.path()) == text);
    }
    CHECK_THROWS_AS(reopen("/dev/null"), Error);
    CHECK_THROWS_AS(peek("/dev/null"), Error);
    CHECK_THROWS_AS(reopen(place.path() + "/missing"), Error);
    CHECK_THROWS_AS(peek(place.path() + "/missing"), Error);
}

TEST_CASE("a journal may be named without its directory") {
    const Place place;
    const fs::path here = fs::current_path();
    fs::current_path(place.directory);
    CHECK(reopen("journal").empty());
    fs::current_path(here);
    CHECK(fs::file_size(place.path()) == kHeader);
}

TEST_CASE("one writer at a time; looking neither waits for it nor stands in its way") {
    const Place place;
    Texts texts;
    Journal journal(place.path(), into(texts));
    journal.append(bytes_of("one"));
    CHECK_THROWS_WITH_AS(reopen(place.path()), ("journal " + place.path() + " is in use").c_str(), Error);
    Journal::Recovery told;
    CHECK(peek(place.path(), &told) == Texts{"one"});
    CHECK(told.in_use);
    journal.append(bytes_of("two"));
    CHECK(peek(place.path()) == Texts{"one", "two"});
}

TEST_CASE("a payload that does not fit is refused and nothing is written") {
    const Place place;
    Texts texts;
    Journal journal(place.path(), into(texts));
    CHECK_THROWS_AS(journal.append({}), Error);
    CHECK_THROWS_AS(journal.append(bytes_of(std::string(Journal::kLongest + 1, 'x'))), Error);
    CHECK(fs::file_size(place.path()) == kHeader);
    journal.append(bytes_of("fits"));
    CHECK(peek(place.path()) == Texts{"fits"});
}

TEST_CASE("short writes and interruptions are gone on with") {
    const Place place;
    FailingDisk::get().longest_write = 5;
    FailingDisk::get().pwrite.fail(EINTR, 3);
    write_all(place.path(), kTexts);
    FailingDisk::get().pread.fail(EINTR, 2);
    CHECK(reopen(place.path()) == kTexts);
}

TEST_CASE("a full disk, wherever in a record it gets full: an error, nothing changed, and on when there is room") {
    const Place place;
    Texts before;
    Journal journal(place.path(), into(before));
    journal.append(bytes_of("one"));
    const std::size_t whole = kAround + 3;
    for (std::size_t room = 0; room < whole; ++room) {
        FailingDisk::get().room = room;
        CHECK_THROWS_AS(journal.append(bytes_of("two")), Error);
        REQUIRE(peek(place.path()) == Texts{"one"});
        REQUIRE(fs::file_size(place.path()) == kHeader + whole);
    }
    FailingDisk::mend();
    journal.append(bytes_of("two"));
    CHECK(peek(place.path()) == Texts{"one", "two"});
}

TEST_CASE("after a flush that failed nothing is acknowledged any more, until the journal is opened again") {
    const Place place;
    Texts before;
    {
        Journal journal(place.path(), into(before));
        journal.append(bytes_of("one"));
        FailingDisk::get().fdatasync.fail(EIO);
        CHECK_THROWS_AS(journal.append(bytes_of("two")), Error);
        CHECK(peek(place.path()) == Texts{"one"});
        CHECK_THROWS_WITH_AS(journal.append(bytes_of("two")),
                             ("journal " + place.path() + " takes no more records").c_str(), Error);
    }
    CHECK(reopen(place.path()) == Texts{"one"});
}

TEST_CASE("a torn record that cannot be cut off closes the journal; opening it again cuts it off") {
    const Place place;
    Texts before;
    {
        Journal journal(place.path(), into(before));
        journal.append(bytes_of("one"));
        FailingDisk::get().room = 9;
        FailingDisk::get().ftruncate.fail(EIO);
        CHECK_THROWS_AS(journal.append(bytes_of("two")), Error);
        FailingDisk::mend();
        CHECK_THROWS_AS(journal.append(bytes_of("two")), Error);
    }
    Journal::Recovery told;
    CHECK(reopen(place.path(), &told) == Texts{"one"});
    CHECK(told.torn_bytes == 9);
}

TEST_CASE("opening fails with its reason at every step, and leaves a journal that can be opened") {
    const Place place;
    const auto ends = write_all(place.path(), kTexts);
    const std::string whole = contents(place.path());
    const std::string damaged = flipped(whole, ends[4] + 9, 0);
    FailingDisk& disk = FailingDisk::get();
    struct Step {
        FailingDisk::Call* call;
        int before;
    };
    const std::vector<Step> steps = {{&disk.fcntl, 0}, {&disk.fstat, 0},  {&disk.pread, 0},    {&disk.pread, 3},
                                     {&disk.pread, 4}, {&disk.pwrite, 0}, {&disk.fsync, 0},    {&disk.fsync, 1},
                                     {&disk.fsync, 2}, {&disk.pread, 11}, {&disk.ftruncate, 0}};
    for (const Step& step : steps) {
        CAPTURE(&step - steps.data());
        put_contents(place.path(), damaged);
        step.call->fail(EIO, step.before);
        CHECK_THROWS_AS(reopen(place.path()), Error);
        CHECK(step.call->before == -1);
        FailingDisk::mend();
        CHECK(reopen(place.path()) == first(4));
    }
    SUBCASE("making it") {
        for (FailingDisk::Call* call : {&disk.fsync, &disk.pwrite, &disk.fdatasync}) {
            fs::remove(place.path());
            call->fail(EIO);
            CHECK_THROWS_AS(reopen(place.path()), Error);
            FailingDisk::mend();
            CHECK(reopen(place.path()).empty());
            write_all(place.path(), kTexts);
            CHECK(peek(place.path()) == kTexts);
        }
    }
    SUBCASE("looking at it") {
        for (FailingDisk::Call* call : {&disk.fcntl, &disk.fstat, &disk.pread}) {
            call->fail(EIO);
            CHECK_THROWS_AS(peek(place.path()), Error);
            FailingDisk::mend();
        }
    }
}
