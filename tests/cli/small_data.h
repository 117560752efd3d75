#pragma once

namespace bertrand::test {

/// Questions whose words the small reader's vocabulary has, in SQuAD's form.
inline constexpr const char* kSmallData = R"({"version": "1.1", "data": [{"paragraphs": [
  {"context": "At night the owls hunt mice and voles.", "qas": [
    {"id": "a", "question": "what?", "answers": [{"text": "mice", "answer_start": 23}]},
    {"id": "b", "question": "when?", "answers": [{"text": "night", "answer_start": 3}]},
    {"id": "c", "question": "who?", "answers": [{"text": "the owls", "answer_start": 9}]}]},
  {"context": "The red fox ran off.", "qas": [
    {"id": "d", "question": "who?", "answers": [{"text": "The red fox", "answer_start": 0}]}]}]}]})";

}  // namespace bertrand::test
