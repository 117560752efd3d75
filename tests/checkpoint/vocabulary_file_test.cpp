#include "checkpoint/vocabulary_file.h"

#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "checkpoint/fixtures.h"
#include "checkpoint/peak_memory.h"
#include "shared_data.h"

namespace bertrand {
namespace {

using nlohmann::json;
using ::testing::EndsWith;
using ::testing::HasSubstr;

/// As transformers 5 writes it, in part.
json tokenizer() {
  return {{"version", "1.0"},
          {"truncation", nullptr},
          {"added_tokens", {{{"id", 0}, {"content", "[PAD]"}, {"special", true}}}},
          {"normalizer",
           {{"type", "BertNormalizer"}, {"strip_accents", nullptr}, {"lowercase", false}}},
          {"model",
           {{"type", "WordPiece"},
            {"unk_token", "[UNK]"},
            {"continuing_subword_prefix", "##"},
            {"max_input_chars_per_word", 100},
            {"vocab", {{"[PAD]", 0}, {"\"", 3}, {"[UNK]", 1}, {"##é\\", 2}}}}}};
}

class VocabularyFileTest : public ::testing::Test {
 protected:
  std::string read(const std::string& text) {
    test::write(folder_ / "tokenizer.json", text);
    return read_vocabulary(folder_ / "tokenizer.json");
  }
  std::string refused(const std::string& text) {
    return test::error_of(3, [&] { read(text); });
  }

  test::TemporaryFolder folder_;
};

TEST_F(VocabularyFileTest, IsTextFirst) {
  EXPECT_EQ(find_vocabulary(folder_.path()), folder_ / "vocab.txt");
  EXPECT_EQ(normalizer_lower_case(folder_.path()), std::nullopt);
  test::write(folder_ / "tokenizer.json", tokenizer().dump());
  EXPECT_EQ(find_vocabulary(folder_.path()), folder_ / "tokenizer.json");
  test::write(folder_ / "vocab.txt", "any\r\ntext");
  EXPECT_EQ(find_vocabulary(folder_.path()), folder_ / "vocab.txt");
  EXPECT_EQ(read_vocabulary(folder_ / "vocab.txt"), "any\r\ntext");
}

TEST_F(VocabularyFileTest, PiecesComeInTheOrderOfTheirIds) {
  EXPECT_EQ(read(tokenizer().dump(/*indent=*/2)), "[PAD]\n[UNK]\n##é\\\n\"\n");
  EXPECT_EQ(read(tokenizer().dump(-1, ' ', /*ensure_ascii=*/true)), "[PAD]\n[UNK]\n##é\\\n\"\n");
}

TEST_F(VocabularyFileTest, ARealOneHasTheSamePieces) {
  BERTRAND_NEEDS_SHARED("models/all-minilm-l6-v2/tokenizer.json");
  const auto model = test::shared_folder() / "models/all-minilm-l6-v2";
  std::string text = test::read(model / "vocab.txt");
  if (!text.ends_with('\n')) text += '\n';
  EXPECT_EQ(read_vocabulary(model / "tokenizer.json"), text);
  EXPECT_EQ(normalizer_lower_case(model), true);
}

TEST_F(VocabularyFileTest, SaysTheCase) {
  json changed = tokenizer();
  const auto told = [&] {
    test::write(folder_ / "tokenizer.json", changed.dump());
    return normalizer_lower_case(folder_.path());
  };
  EXPECT_EQ(told(), false);
  changed["normalizer"]["lowercase"] = true;
  EXPECT_EQ(told(), true);
  changed["normalizer"]["lowercase"] = nullptr;
  EXPECT_EQ(told(), std::nullopt);
  changed["normalizer"] = nullptr;
  EXPECT_EQ(told(), std::nullopt);
}

TEST_F(VocabularyFileTest, OtherTokenizersAreRefused) {
  json other = tokenizer();
  other["model"]["type"] = "BPE";
  EXPECT_THAT(refused(other.dump()), HasSubstr("of the kind BPE, where a BERT has WordPiece"));
  other["model"]["vocab"] = json::array({json::array({"a", -1.5})});
  other["model"]["type"] = "Unigram";
  EXPECT_THAT(refused(other.dump()), HasSubstr("of the kind Unigram"));
  other = tokenizer();
  other["model"]["continuing_subword_prefix"] = "@@";
  EXPECT_THAT(refused(other.dump()), HasSubstr("marks pieces inside a word by @@"));
  EXPECT_THAT(refused("{}"), HasSubstr("of the kind unknown"));
  json old = tokenizer();
  old["model"].erase("type");
  EXPECT_EQ(read(old.dump()), read(tokenizer().dump()));
  old["model"].erase("continuing_subword_prefix");
  EXPECT_THAT(refused(old.dump()), HasSubstr("of the kind unknown"));
  old["model"]["type"] = "WordPiece";
  EXPECT_EQ(read(old.dump()), read(tokenizer().dump()));
  EXPECT_THAT(refused("[]"), HasSubstr("of the kind unknown"));
  EXPECT_THAT(refused(""), HasSubstr("put the vocab.txt of the model beside it"));
  EXPECT_THAT(refused("{} x"), HasSubstr("is not JSON from byte 4 on"));
}

TEST_F(VocabularyFileTest, IdsAreLines) {
  const auto with = [](const char* piece, const json& id) {
    json changed = tokenizer();
    changed["model"]["vocab"][piece] = id;
    return changed.dump();
  };
  EXPECT_THAT(read(with("x", 4)), EndsWith("\"\nx\n"));
  EXPECT_THAT(refused(with("x", 5)), HasSubstr("has no piece of the id 4"));
  EXPECT_THAT(refused(with("x", 3)), HasSubstr("two of one before"));
  for (const json& wrong : {json(-1), json(0.5), json("4"), json(nullptr), json(1e300)}) {
    EXPECT_THAT(refused(with("x", wrong)), HasSubstr("\"x\" has no whole number")) << wrong;
  }
  EXPECT_THAT(refused(with("x", json::array({4}))), HasSubstr("\"x\" has no whole number"));
  for (const char* piece : {" x", "x\t", "x\ny", "\r"}) {
    EXPECT_THAT(refused(with(piece, 4)), HasSubstr("has a blank at an end")) << piece;
  }
  EXPECT_THAT(refused(with("x", 1U << 31)), HasSubstr("has an id above"));
}

TEST_F(VocabularyFileTest, CutOffIsRefused) {
  const std::string whole = tokenizer().dump();
  for (size_t size = 0; size < whole.size(); ++size) {
    EXPECT_NE(refused(whole.substr(0, size)), "") << size;
  }
}

TEST_F(VocabularyFileTest, HostileFilesTakeLittleMemory) {
  constexpr size_t kSize = size_t{19} << 20;
  const std::string begin = R"({"model":{"type":"WordPiece","vocab":{)";
  std::string many = begin;
  while (many.size() < kSize) many += R"("a":0,)";
  std::string repeated = many;
  many.back() = '}';
  many += "}}";
  const std::string deep = begin + "\"a\":" + std::string(kSize, '[');
  for (const std::string& text : {many, repeated, deep, std::string(2 * kSize, ' ')}) {
    test::write(folder_ / "tokenizer.json", text);
    const test::PeakMemory peak;
    EXPECT_NE(test::error_of(3, [&] { read_vocabulary(folder_ / "tokenizer.json"); }), "");
    EXPECT_LT(peak.bytes(), test::kMostMemory);
  }
}

}  // namespace
}  // namespace bertrand
