#pragma once

#include <span>
#include <string>
#include <vector>

#include "squad/windows.h"

namespace bertrand {

/// Questions named in a message, however many there are: "question a", "questions a, b, c", and of
/// more than ten the first ten and how many in all: "100000 questions (a, b, ...)".
std::string question_list(std::span<const std::string> ids);

/// What was met while the windows of the file `where` were made, a sentence each.
std::vector<std::string> sentences_of(const WindowReport& report, const std::string& where);

}  // namespace bertrand
