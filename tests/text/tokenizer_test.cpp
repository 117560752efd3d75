#include "text/tokenizer.h"

#include <string>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

#include "small_vocabulary.h"

namespace bertrand {
namespace {

using Behaviour = TokenizerOptions::Behaviour;
using test::joined;
using test::Piece;
using test::pieces;
using test::small_tokenizer;

const Tokenizer& uncased() {
  static const Tokenizer tokenizer = small_tokenizer();
  return tokenizer;
}

const Tokenizer& cased() {
  static const Tokenizer tokenizer = small_tokenizer({.lower_case = false});
  return tokenizer;
}

const Tokenizer& reference() {
  static const Tokenizer tokenizer = small_tokenizer({.behaviour = Behaviour::reference});
  return tokenizer;
}

const Tokenizer& reference_cased() {
  static const Tokenizer tokenizer =
      small_tokenizer({.lower_case = false, .behaviour = Behaviour::reference});
  return tokenizer;
}

TEST(Tokenizer, NothingOfNothing) {
  EXPECT_EQ(joined(uncased(), ""), "");
  EXPECT_EQ(joined(uncased(), " \t\r\n"), "");
  EXPECT_EQ(joined(reference(), std::string(3, '\0')), "");
}

TEST(Tokenizer, LongestPieceFirst) {
  EXPECT_EQ(
      pieces(uncased(), "unwantable cats"),
      (std::vector<Piece>{
          {"un", 0, 2}, {"##want", 2, 6}, {"##able", 6, 10}, {"cat", 11, 14}, {"##s", 14, 15}}));
}

TEST(Tokenizer, WordWithARestThatIsNoPieceIsUnknownAsAWhole) {
  EXPECT_EQ(pieces(uncased(), "cat catz sat"),
            (std::vector<Piece>{{"cat", 0, 3}, {"[UNK]", 4, 8}, {"sat", 9, 12}}));
}

TEST(Tokenizer, AppendsToWhatIsThere) {
  std::vector<Token> tokens = {{7, 1, 2}};
  uncased().tokenize("cat zzz", tokens);
  ASSERT_EQ(tokens.size(), 3u);
  EXPECT_EQ(tokens[0].id, 7);
  EXPECT_EQ(tokens[1].id, uncased().vocabulary().find("cat"));
  EXPECT_EQ(tokens[2].id, uncased().vocabulary().unknown_id());
}

TEST(Tokenizer, PiecesInsideAWordNeedTheirMark) {
  EXPECT_EQ(joined(uncased(), "able"), "[UNK]");   // only "##able" is a piece
  EXPECT_EQ(joined(uncased(), "unmat"), "[UNK]");  // only "mat" is
  EXPECT_EQ(joined(uncased(), "##able"), "[UNK] [UNK] [UNK]");
}

TEST(Tokenizer, CaseIsKeptOrNot) {
  EXPECT_EQ(joined(uncased(), "The CAT"), "the cat");
  EXPECT_EQ(joined(cased(), "The Cat CAT"), "The Cat [UNK]");
}

TEST(Tokenizer, PunctuationIsAWordOfItsOwn) {
  EXPECT_EQ(pieces(uncased(), "the cat's.mat"), (std::vector<Piece>{{"the", 0, 3},
                                                                    {"cat", 4, 7},
                                                                    {"'", 7, 8},
                                                                    {"[UNK]", 8, 9},
                                                                    {".", 9, 10},
                                                                    {"mat", 10, 13}}));
  EXPECT_EQ(joined(uncased(), "$-`"), "$ - `");  // ASCII symbols count too
  EXPECT_EQ(pieces(cased(), "¿cat“!"),
            (std::vector<Piece>{{"¿", 0, 2}, {"cat", 2, 5}, {"“", 5, 8}, {"!", 8, 9}}));
}

// U+1FEF is a symbol that decomposes to a grave accent, which is punctuation.
TEST(Tokenizer, PunctuationThatComesOutOfDecompositionSplits) {
  EXPECT_EQ(pieces(uncased(), "a\u1FEFb"),
            (std::vector<Piece>{{"a", 0, 1}, {"`", 1, 4}, {"b", 4, 5}}));
  EXPECT_EQ(joined(cased(), "a\u1FEFb"), "[UNK]");
}

TEST(Tokenizer, SpacesOfAllKindsSplit) {
  for (const char* space : {" ", "\t", "\n", "\r", "\u00A0", "\u2003", "\u3000", "\u2028"}) {
    EXPECT_EQ(joined(uncased(), std::string("a") + space + "b"), "a b");
    EXPECT_EQ(joined(reference(), std::string("a") + space + "b"), "a b");
  }
}

TEST(Tokenizer, ControlsAndFormatsAreAsIfNotThere) {
  using namespace std::string_literals;
  for (const std::string& removed : {"\0"s, "\x01"s, "\x7F"s, "\u0085"s, "\u200B"s, "\u200D"s,
                                     "\uFEFF"s, "\u00AD"s, "\uE000"s, "\uFFFD"s, "\x1C"s}) {
    const auto size = static_cast<uint32_t>(removed.size());
    const std::vector<Piece> cat = {{"cat", 0, 3 + size}};
    EXPECT_EQ(pieces(uncased(), "c" + removed + "at"), cat);
    EXPECT_EQ(pieces(reference_cased(), "c" + removed + "at"), cat);
    std::string around = removed;
    around += "cat";
    around += removed;
    EXPECT_EQ(pieces(uncased(), around), (std::vector<Piece>{{"cat", size, 3 + size}}));
  }
}

TEST(Tokenizer, AccentsGoWithTheCase) {
  EXPECT_EQ(pieces(uncased(), "Café, É"),
            (std::vector<Piece>{{"cafe", 0, 5}, {",", 5, 6}, {"e", 7, 9}}));
  EXPECT_EQ(pieces(cased(), "café É"), (std::vector<Piece>{{"café", 0, 5}, {"É", 6, 8}}));
}

TEST(Tokenizer, AccentsOfTheirOwnAreInsideAWordButAtNoEndOfIt) {
  EXPECT_EQ(pieces(uncased(), "c\u0301at\u0301 \u0301a"),
            (std::vector<Piece>{{"cat", 0, 5}, {"a", 10, 11}}));
  EXPECT_EQ(joined(cased(), "cafe\u0301"), "[UNK]");  // not composed
  EXPECT_EQ(joined(uncased(), "\u0301"), "");
}

TEST(Tokenizer, ALetterThatFallsApartGivesEachPartItsBytes) {
  EXPECT_EQ(pieces(uncased(), "각"),
            (std::vector<Piece>{{"ᄀ", 0, 3}, {"##ᅡ", 0, 3}, {"##ᆨ", 0, 3}}));
}

TEST(Tokenizer, LettersWhoseLowerCaseIsSpecial) {
  EXPECT_EQ(pieces(uncased(), "\u0130"), (std::vector<Piece>{{"i", 0, 2}}));
  EXPECT_EQ(joined(reference(), "\u0130"), "i");
  EXPECT_EQ(joined(uncased(), "\u212A"), "k");  // Kelvin
  EXPECT_EQ(joined(uncased(), "\u1E9E"), "ß");
}

TEST(Tokenizer, FinalSigmaIsTheReferencesOnly) {
  EXPECT_EQ(joined(uncased(), "ΑΣ"), "α ##σ");
  EXPECT_EQ(joined(reference(), "ΑΣ"), "α ##ς");
  EXPECT_EQ(joined(reference(), "Σ"), "σ");             // nothing before
  EXPECT_EQ(joined(reference(), "ΑΣΣ"), "α ##σ ##ς");   // one after
  EXPECT_EQ(joined(reference(), "ΑΣ\u0301"), "α ##ς");  // accents do not count
  EXPECT_EQ(joined(reference(), "Α\u200BΣ\u0001"), "α ##ς");
  EXPECT_EQ(joined(reference(), "ΑΣ.b"), "α ##σ . b");  // nor does a full stop
  EXPECT_EQ(joined(reference(), "ΑΣ,b"), "α ##ς , b");  // a comma does
  EXPECT_EQ(joined(reference(), "ΑΣ b"), "α ##ς b");
  EXPECT_EQ(joined(reference(), "中Σ"), "中 σ");
  EXPECT_EQ(joined(reference(), "ας"), "α ##ς");
}

TEST(Tokenizer, ChineseCharactersAreWordsButKanaAndHangulAreNot) {
  EXPECT_EQ(pieces(cased(), "a中国b"),
            (std::vector<Piece>{{"a", 0, 1}, {"中", 1, 4}, {"国", 4, 7}, {"b", 7, 8}}));
  EXPECT_EQ(joined(cased(), "かな"), "か ##な");
}

TEST(Tokenizer, PeersBlockOfExtensionEBeginsLate) {
  EXPECT_EQ(pieces(uncased(), "a\U0002B820b"), (std::vector<Piece>{{"[UNK]", 0, 6}}));
  EXPECT_EQ(joined(uncased(), "a\U0002B920b"), "a [UNK] b");
  EXPECT_EQ(joined(reference(), "a\U0002B820b"), "a [UNK] b");
}

TEST(Tokenizer, UnassignedCharactersStayOrGo) {
  EXPECT_EQ(pieces(uncased(), "a\u0378b"), (std::vector<Piece>{{"[UNK]", 0, 4}}));
  EXPECT_EQ(pieces(reference(), "a\u0378b"), (std::vector<Piece>{{"a", 0, 1}, {"##b", 3, 4}}));
}

TEST(Tokenizer, WordsOfMoreThanAHundredCharactersAreUnknown) {
  for (const Tokenizer* tokenizer : {&uncased(), &cased(), &reference()}) {
    EXPECT_EQ(pieces(*tokenizer, std::string(100, 'a')).size(), 100u);
    EXPECT_EQ(pieces(*tokenizer, "b " + std::string(101, 'a') + " b"),
              (std::vector<Piece>{{"b", 0, 1}, {"[UNK]", 2, 103}, {"b", 104, 105}}));
  }
}

TEST(Tokenizer, LengthIsCountedInCharactersOfTheNormalForm) {
  std::string accented;
  for (int i = 0; i < 100; ++i) accented += "e\u0301";
  EXPECT_EQ(pieces(uncased(), accented).size(), 100u);
  EXPECT_EQ(joined(cased(), accented), "[UNK]");
  accented += "a";
  EXPECT_EQ(pieces(uncased(), accented), (std::vector<Piece>{{"[UNK]", 0, 301}}));
  // Three parts each: 34 syllables are 102 characters.
  std::string hangul;
  for (int i = 0; i < 34; ++i) hangul += "각";
  EXPECT_EQ(joined(uncased(), hangul), "[UNK]");
}

TEST(Tokenizer, AWordTooLongCostsNoMoreThanItsBytes) {
  EXPECT_EQ(pieces(uncased(), std::string(1 << 20, 'x') + "é" + std::string(1 << 20, 'x')),
            (std::vector<Piece>{{"[UNK]", 0, 2 * (1 << 20) + 2}}));
}

TEST(Tokenizer, SpecialTokensInTheTextAnywhere) {
  EXPECT_EQ(pieces(uncased(), "a[SEP]b [MASK]"),
            (std::vector<Piece>{{"a", 0, 1}, {"[SEP]", 1, 6}, {"b", 6, 7}, {"[MASK]", 8, 14}}));
  EXPECT_EQ(joined(uncased(), "[CLS][PAD][UNK]"), "[CLS] [PAD] [UNK]");
  EXPECT_EQ(joined(uncased(), "[[SEP]]"), "[ [SEP] ]");
  EXPECT_EQ(joined(uncased(), "[sep]"), "[ sep ]");
  EXPECT_EQ(joined(uncased(), "[SEP"), "[ sep");
  EXPECT_EQ(joined(uncased(), "[S\u200BEP]"), "[ sep ]");
}

TEST(Tokenizer, SpecialTokensInTheTextBetweenSpaces) {
  EXPECT_EQ(joined(reference(), "a[SEP] b"), "a [ sep ] b");
  EXPECT_EQ(joined(reference(), "[SEP]."), "[ sep ] .");
  EXPECT_EQ(joined(reference(), "[SEP][SEP]"), "[ sep ] [ sep ]");
  EXPECT_EQ(joined(reference(), "'[MASK]"), "' [ mask ]");
  EXPECT_EQ(pieces(reference(), "a [SEP]\t[MASK]"),
            (std::vector<Piece>{{"a", 0, 1}, {"[SEP]", 2, 7}, {"[MASK]", 8, 14}}));
  EXPECT_EQ(joined(reference(), "中[SEP]国"), "中 [SEP] 国");
  EXPECT_EQ(pieces(reference(), "\u200B[S\u200BEP]\u200B"), (std::vector<Piece>{{"[SEP]", 3, 11}}));
  EXPECT_EQ(joined(reference(), "[SE\u0301P]"), "[ sep ]");
  EXPECT_EQ(joined(reference_cased(), "[CLS] [cls]"), "[CLS] [ [UNK] ]");
}

TEST(Tokenizer, InvalidUtf8IsRemovedAndOffsetsStayRight) {
  EXPECT_EQ(pieces(uncased(),
                   "c\xFF\xFE"
                   "at b"),
            (std::vector<Piece>{{"cat", 0, 5}, {"b", 6, 7}}));
  EXPECT_EQ(pieces(cased(),
                   "\x80"
                   "a\xE2\x82 b\xC3"),
            (std::vector<Piece>{{"a", 1, 2}, {"b", 5, 6}}));
  EXPECT_EQ(joined(reference(),
                   "a\xED\xA0\x80"
                   "b"),
            "a ##b");  // a surrogate
  EXPECT_EQ(joined(reference(), "Α\xC3Σ\xC3"), "α ##ς");
  EXPECT_EQ(joined(uncased(), "\xF0\x9F"), "");
}

// U+1D165 (class 216) stands before U+302E (class 224) in canonical order. The bytes each is told
// to stand for do not change places with them.
TEST(Tokenizer, MarksThatAreNoAccentsComeInCanonicalOrder) {
  const auto vocabulary = std::make_shared<const Vocabulary>(Vocabulary::parse(
      "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\na\n##\U0001D165\n##\u302E\n", "marks"));
  const Tokenizer tokenizer(vocabulary, {});
  EXPECT_EQ(pieces(tokenizer, "a\u302E\U0001D165"),
            (std::vector<Piece>{{"a", 0, 1}, {"##\U0001D165", 1, 4}, {"##\u302E", 4, 8}}));
  EXPECT_EQ(pieces(tokenizer, "a\u0301\u302E"),
            (std::vector<Piece>{{"a", 0, 1}, {"##\u302E", 1, 3}}));
  // A starter between them, though dropped, keeps their order: U+034F.
  EXPECT_EQ(joined(tokenizer, "a\u302E\u034F\U0001D165"), "a ##\u302E ##\U0001D165");
  EXPECT_EQ(joined(Tokenizer(vocabulary, {.lower_case = false}), "a\u302E\U0001D165"),
            "a ##\u302E ##\U0001D165");
}

TEST(Tokenizer, ManyThreadsAtOnce) {
  const std::string text = "The unwantable cats, É 中国 [SEP] ΑΣ e\u0301";
  const std::vector<Piece> expected = pieces(uncased(), text);
  std::vector<std::vector<Piece>> found(4);
  std::vector<std::thread> threads;
  threads.reserve(found.size());
  for (std::vector<Piece>& mine : found) {
    threads.emplace_back([&mine, &text] {
      for (int i = 0; i < 100; ++i) mine = pieces(uncased(), text);
    });
  }
  for (std::thread& thread : threads) thread.join();
  for (const std::vector<Piece>& mine : found) EXPECT_EQ(mine, expected);
}

}  // namespace
}  // namespace bertrand
