#include "subtask_memory.hpp"

namespace edgearm {

static_assert(Change::kLongest <= Journal::kLongest);

SubtaskMemory::SubtaskMemory(const std::string& journal_path) {
    if (!journal_path.empty()) {
        journal_.emplace(journal_path, [this](Journal::Record record) { restore(record); });
        recovery_ = journal_->recovery();
    }
    published_.write(state_);
}

std::unique_ptr<SubtaskMemory> SubtaskMemory::peek(const std::string& journal_path) {
    std::unique_ptr<SubtaskMemory> memory(new SubtaskMemory());
    memory->recovery_ = Journal::read(journal_path, [&memory](Journal::Record record) { memory->restore(record); });
    memory->published_.write(memory->state_);
    return memory;
}

void SubtaskMemory::restore(Journal::Record record) {
    const Change change = Change::decode(record);
    state_.check(change);
    state_.apply(change);
}

void SubtaskMemory::commit(const Change& change) {
    const std::lock_guard guard(writing_);
    state_.check(change);
    if (journal_) {
        journal_->append(change.encode(bytes_));
    }
    state_.apply(change);
    published_.write(state_);
}

void SubtaskMemory::clear(std::string_view task) {
    commit({Change::Kind::clear, 0, task});
}

void SubtaskMemory::begin(std::string_view call, std::string_view object, std::int64_t now_ns) {
    commit({Change::Kind::begin, now_ns, call, object});
}

void SubtaskMemory::end(std::string_view outcome, std::int64_t now_ns) {
    commit({Change::Kind::end, now_ns, outcome});
}

void SubtaskMemory::grasped(std::string_view object, const RememberedPose& pose) {
    commit({Change::Kind::grasped, 0, object, {}, pose});
}

void SubtaskMemory::released(std::string_view object, const RememberedPose& pose) {
    commit({Change::Kind::released, 0, object, {}, pose});
}

void SubtaskMemory::conclude(std::string_view ending, std::int64_t now_ns) {
    commit({Change::Kind::conclude, now_ns, ending});
}

}  // namespace edgearm
