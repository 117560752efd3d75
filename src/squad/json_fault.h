#pragma once

#include <string>
#include <string_view>

namespace bertrand {

/// Where and why a text is not JSON, as the end of a sentence: "line 3, byte 41 of the file: ...".
/// Slow and thorough: called only for a text that a fast parser refused, for the reason `refused`,
/// which is what is told where no fault is found here.
std::string describe_json_fault(std::string_view json, std::string_view refused);

}  // namespace bertrand
