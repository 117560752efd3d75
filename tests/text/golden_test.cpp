#include <array>
#include <fstream>
#include <set>
#include <string>
#include <vector>
#include <zlib.h>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "shared_data.h"
#include "text/tokenizer.h"
#include "text/utf8.h"

namespace bertrand {
namespace {

using nlohmann::json;
using Behaviour = TokenizerOptions::Behaviour;

std::filesystem::path data(const std::string& relative) {
  return test::shared_folder() / "data" / relative;
}

Tokenizer make_tokenizer(bool lower_case, Behaviour behaviour) {
  const std::string name = lower_case ? "uncased" : "cased";
  return Tokenizer(std::make_shared<const Vocabulary>(
                       Vocabulary::load(data("vocab/bert-base-" + name + "-vocab.txt"))),
                   {.lower_case = lower_case, .behaviour = behaviour});
}

using Offsets = std::vector<std::array<size_t, 2>>;  // code points

struct Tokenized {
  std::vector<std::string> pieces;
  Offsets offsets;
};

Tokenized run(const Tokenizer& tokenizer, const std::string& text) {
  std::vector<size_t> code_points(text.size() + 1);
  size_t count = 0;
  for (size_t at = 0; at < text.size(); ++count) {
    const uint32_t length = decode_utf8(text, at).length;
    std::fill_n(code_points.begin() + static_cast<std::ptrdiff_t>(at), length, count);
    at += length;
  }
  code_points[text.size()] = count;
  std::vector<Token> tokens;
  tokenizer.tokenize(text, tokens);
  Tokenized result;
  for (const Token& token : tokens) {
    result.pieces.emplace_back(tokenizer.vocabulary().piece(token.id));
    result.offsets.push_back({code_points[token.begin], code_points[token.end]});
  }
  return result;
}

std::vector<json> read_json_lines(const std::filesystem::path& path) {
  gzFile file = gzopen(path.c_str(), "rb");
  if (file == nullptr) throw std::runtime_error("cannot open " + path.string());
  std::string text(1 << 16, '\0');
  size_t used = 0;
  for (int count = 0;
       (count = gzread(file, text.data() + used, static_cast<unsigned>(text.size() - used))) > 0;) {
    used += static_cast<size_t>(count);
    if (used == text.size()) text.resize(2 * text.size());
  }
  gzclose(file);
  text.resize(used);
  std::vector<json> rows;
  for (size_t begin = 0; begin < text.size();) {
    const size_t end = std::min(text.find('\n', begin), text.size());
    rows.push_back(json::parse(text.substr(begin, end - begin)));
    begin = end + 1;
  }
  return rows;
}

std::string escaped(const json& text) { return text.dump(-1, ' ', /*ensure_ascii=*/true); }

json read_json(const std::filesystem::path& path) { return json::parse(std::ifstream(path)); }

// Assigned after the tables of Hugging Face's tokenizer: it takes them for word characters.
bool newer_than_peer(const std::string& text) {
  static const std::set<char32_t> newer = {0x061D, 0x09FD, 0x09FE, 0x0A76, 0x0AFA, 0x0AFB,
                                           0x0AFC, 0x0AFD, 0x0AFF, 0x0B55, 0x0C3C, 0x0C77,
                                           0x0C84, 0x0D00, 0x0D3B, 0x0D3C, 0x0D81};
  for (size_t at = 0; at < text.size();) {
    const CodePoint next = decode_utf8(text, at);
    if (newer.contains(next.value)) return true;
    at += next.length;
  }
  return false;
}

TEST(Golden, QuestionsOfSquad) {
  BERTRAND_NEEDS_SHARED("data/tokenization/question_tokens.json");
  const json questions = read_json(data("tokenization/question_tokens.json"));
  const json ids = read_json(data("tokenization/tokenized_questions.json"));
  ASSERT_EQ(questions.size(), 10570u);
  ASSERT_EQ(ids.size(), 10570u);
  for (const Behaviour behaviour : {Behaviour::hugging_face, Behaviour::reference}) {
    const Tokenizer tokenizer = make_tokenizer(/*lower_case=*/true, behaviour);
    std::vector<Token> tokens;
    for (size_t i = 0; i < questions.size(); ++i) {
      const auto text = questions[i]["original"].get<std::string>();
      EXPECT_EQ(run(tokenizer, text).pieces,
                questions[i]["wordpiece"].get<std::vector<std::string>>())
          << text;
      tokens.clear();
      tokenizer.tokenize(text, tokens);
      std::vector<int32_t> found;
      found.reserve(tokens.size());
      for (const Token& token : tokens) found.push_back(token.id);
      EXPECT_EQ(found, ids[i].get<std::vector<int32_t>>()) << text;
    }
  }
}

class GoldenUnicode : public testing::TestWithParam<bool> {};

TEST_P(GoldenUnicode, ReferenceTokens) {
  BERTRAND_NEEDS_SHARED("data/golden/tokenization/unicode.jsonl.gz");
  const std::string column = GetParam() ? "seed_uncased" : "seed_cased";
  const Tokenizer tokenizer = make_tokenizer(GetParam(), Behaviour::reference);
  for (const json& row : read_json_lines(data("golden/tokenization/unicode.jsonl.gz"))) {
    const auto text = row["text"].get<std::string>();
    EXPECT_EQ(run(tokenizer, text).pieces, row[column].get<std::vector<std::string>>())
        << escaped(row["text"]);
  }
}

TEST_P(GoldenUnicode, HuggingFaceTokensAndOffsets) {
  BERTRAND_NEEDS_SHARED("data/golden/tokenization/unicode.jsonl.gz");
  const std::string column = GetParam() ? "hf_uncased" : "hf_cased";
  const Tokenizer tokenizer = make_tokenizer(GetParam(), Behaviour::hugging_face);
  for (const json& row : read_json_lines(data("golden/tokenization/unicode.jsonl.gz"))) {
    const auto text = row["text"].get<std::string>();
    if (newer_than_peer(text)) continue;
    const Tokenized found = run(tokenizer, text);
    EXPECT_EQ(found.pieces, row[column].get<std::vector<std::string>>()) << escaped(row["text"]);
    EXPECT_EQ(found.offsets, row[column + "_offsets"].get<Offsets>()) << escaped(row["text"]);
  }
}

// How many rows the newer characters cost, so that no other difference hides behind them.
TEST(Golden, NewerCharactersMakeFewRowsDiffer) {
  BERTRAND_NEEDS_SHARED("data/golden/tokenization/unicode.jsonl.gz");
  const Tokenizer uncased = make_tokenizer(/*lower_case=*/true, Behaviour::hugging_face);
  const Tokenizer cased = make_tokenizer(/*lower_case=*/false, Behaviour::hugging_face);
  const auto same = [](const Tokenized& found, const json& row, const std::string& column) {
    return found.pieces == row[column].get<std::vector<std::string>>() &&
           found.offsets == row[column + "_offsets"].get<Offsets>();
  };
  size_t differing = 0;
  for (const json& row : read_json_lines(data("golden/tokenization/unicode.jsonl.gz"))) {
    const auto text = row["text"].get<std::string>();
    differing +=
        !same(run(uncased, text), row, "hf_uncased") || !same(run(cased, text), row, "hf_cased");
  }
  EXPECT_EQ(differing, 29u);
}

INSTANTIATE_TEST_SUITE_P(, GoldenUnicode, testing::Bool(),
                         [](const auto& name) { return name.param ? "Uncased" : "Cased"; });

}  // namespace
}  // namespace bertrand
