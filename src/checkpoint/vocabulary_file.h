#pragma once

#include <filesystem>
#include <optional>
#include <string>

namespace bertrand {

/// The file that holds a folder's word pieces: vocab.txt, or where there is none tokenizer.json,
/// which is all that transformers writes since version 5. Where there is neither, vocab.txt.
std::filesystem::path find_vocabulary(const std::filesystem::path& folder);

/// The text of a vocab.txt: of such a file as it is, of one that ends in .json the pieces that
/// tokenizer.json (Hugging Face's tokenizers, its WordPiece) has, in the order of their ids. Throws
/// Error (io), and (bad_input) naming the file and what to do where it is no tokenizer of a BERT,
/// or its ids are not 0, 1, 2 and so on.
std::string read_vocabulary(const std::filesystem::path& path);

/// Whether the tokenizer.json in `folder` makes letters small; empty where it does not say, or
/// there is none. Throws as read_vocabulary.
std::optional<bool> normalizer_lower_case(const std::filesystem::path& folder);

}  // namespace bertrand
