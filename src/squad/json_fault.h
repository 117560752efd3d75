#pragma once

#include <string>
#include <string_view>

namespace bertrand {

/// Why a text is refused, where, and what to do, as the end of a sentence: "is not JSON: line 3,
/// byte 41 of the file: ...", or "cannot be read: ..." where it is JSON, but too deep or with
/// numbers too large. Slow and thorough: called only for a text that a parser refused, for the
/// reason `refused`, which is what is told where nothing is found here.
std::string describe_json_fault(std::string_view json, std::string_view refused);

}  // namespace bertrand
