#pragma once

#include <filesystem>
#include <string>
#include <string_view>

#include <nlohmann/json_fwd.hpp>

namespace bertrand {

/// The object of a JSON text that is not trusted: a config, a recipe, the state of a run. Nothing
/// in it lies more than 64 lists and objects deep, so that it can be copied and printed, which the
/// library does by recursion. Throws Error (bad_input): `where` (the file), what is wrong with it,
/// and `remedy`, which ends the sentence.
nlohmann::json parse_json_object(std::string_view text, const std::string& where,
                                 const std::string& remedy);

/// The same of a file; see read_description.
nlohmann::json read_json_object(const std::filesystem::path& path, const std::string& remedy);

/// The text of a small file. Throws Error (bad_input) where it has more bytes than a file that
/// describes a model can need, 1 MB.
std::string read_description(const std::filesystem::path& path);

}  // namespace bertrand
