// Opens a link of firmware_bridge, which knows no error of ours: its own becomes Error(link) with the same words.
#pragma once

#include <memory>
#include <utility>

#include "error.hpp"
#include "link_error.hpp"

namespace edgearm {

template <class Open>
auto with_our_errors(Open open) -> decltype(open()) {
    try {
        return open();
    } catch (const link::Error& error) {
        throw Error(Error::Kind::link, error.what(), error.expected, error.got, error.fix);
    }
}

// In place: a link is neither copied nor moved.
template <class Link, class... Arguments>
Link open_link(Arguments&&... arguments) {
    return with_our_errors([&] { return Link(std::forward<Arguments>(arguments)...); });
}

template <class Link, class... Arguments>
std::unique_ptr<Link> open_unique(Arguments&&... arguments) {
    return with_our_errors([&] { return std::make_unique<Link>(std::forward<Arguments>(arguments)...); });
}

}  // namespace edgearm
