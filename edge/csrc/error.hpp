// Errors outside the loop, in the shape of edge/errors.py: what is wrong, expected, got, and what to do.
#pragma once

#include <stdexcept>
#include <string>
#include <utility>

namespace edgearm {

struct Error : std::runtime_error {
    enum class Kind { link, arm, task, config };

    Error(Kind error_kind, const std::string& what, std::string wanted, std::string came, std::string advice)
        : std::runtime_error(what),
          kind(error_kind),
          expected(std::move(wanted)),
          got(std::move(came)),
          fix(std::move(advice)) {}

    Kind kind;
    std::string expected;
    std::string got;
    std::string fix;
};

}  // namespace edgearm
