#include "text/vocabulary.h"

#include <algorithm>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/error.h"
#include "base/temporary_folder.h"
#include "shared_data.h"

namespace bertrand {
namespace {

using testing::AllOf;
using testing::HasSubstr;

const std::string special_pieces = "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\n";

/// What parsing says is wrong; empty where nothing is.
std::string fault(const std::string& text) {
  try {
    Vocabulary::parse(text, "some/vocab.txt");
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::bad_input);
    return error.what();
  }
  return "";
}

TEST(Vocabulary, NumbersPiecesByTheirLines) {
  const Vocabulary vocabulary = Vocabulary::parse(special_pieces + "cat\n##s\n", "");
  ASSERT_EQ(vocabulary.size(), 7u);
  EXPECT_EQ(vocabulary.pad_id(), 0);
  EXPECT_EQ(vocabulary.unknown_id(), 1);
  EXPECT_EQ(vocabulary.cls_id(), 2);
  EXPECT_EQ(vocabulary.sep_id(), 3);
  EXPECT_EQ(vocabulary.mask_id(), 4);
  EXPECT_EQ(vocabulary.piece(5), "cat");
  EXPECT_EQ(vocabulary.find("cat"), 5);
  EXPECT_EQ(vocabulary.find("##s"), 6);
  EXPECT_EQ(vocabulary.find("s"), -1);
  EXPECT_EQ(vocabulary.find("ca"), -1);
  EXPECT_EQ(vocabulary.find(""), -1);
}

TEST(Vocabulary, FindsTheLongestPieceThatAWordBeginsWith) {
  const Vocabulary vocabulary = Vocabulary::parse(special_pieces + "a\nabc\n##a\n##ab\n##é\n", "");
  const auto find = [&](std::string_view word, bool inside) {
    const Vocabulary::Match match = vocabulary.find_longest(word, inside);
    return std::pair(match.id, match.length);
  };
  EXPECT_EQ(find("abcd", false), std::pair(6, 3u));
  EXPECT_EQ(find("abd", false), std::pair(5, 1u));
  EXPECT_EQ(find("abcd", true), std::pair(8, 2u));
  EXPECT_EQ(find("éa", true), std::pair(9, 2u));
  EXPECT_EQ(find("éa", false), std::pair(-1, 0u));
  EXPECT_EQ(find("", false), std::pair(-1, 0u));
  EXPECT_EQ(find(std::string(1000, 'a'), false), std::pair(5, 1u));
}

TEST(Vocabulary, FindsPiecesOfAnyLength) {
  const std::string piece(500, 'x');
  const Vocabulary vocabulary = Vocabulary::parse(special_pieces + piece + "\n", "");
  EXPECT_EQ(vocabulary.find_longest(piece + "x", false).length, 500u);
  EXPECT_EQ(vocabulary.find_longest(piece, true).id, -1);
}

TEST(Vocabulary, TakesWhatEditorsDoToLines) {
  const std::string plain = special_pieces + "cat\n##s\n";
  std::string dos;
  for (const char byte : plain) dos += byte == '\n' ? std::string("\r\n") : std::string(1, byte);
  for (const std::string& text : {dos, "\xEF\xBB\xBF" + plain, plain.substr(0, plain.size() - 1),
                                  special_pieces + " cat\t\n##s  \n"}) {
    const Vocabulary vocabulary = Vocabulary::parse(text, "");
    ASSERT_EQ(vocabulary.size(), 7u);
    EXPECT_EQ(vocabulary.pad_id(), 0);
    EXPECT_EQ(vocabulary.find("cat"), 5);
    EXPECT_EQ(vocabulary.find("##s"), 6);
  }
}

TEST(Vocabulary, NamesTheLineThatIsNotUtf8) {
  EXPECT_THAT(fault(special_pieces + "cat\nd\xC3g\n"),
              AllOf(HasSubstr("some/vocab.txt"), HasSubstr("line 7"), HasSubstr("UTF-8")));
  EXPECT_THAT(fault("\xFF\xFE" + special_pieces), HasSubstr("line 1"));
}

TEST(Vocabulary, NamesBothLinesOfAPieceThatComesTwice) {
  EXPECT_THAT(fault(special_pieces + "cat\ndog\ncat\n"),
              AllOf(HasSubstr("some/vocab.txt"), HasSubstr("line 8"), HasSubstr("line 6"),
                    HasSubstr("\"cat\"")));
  EXPECT_THAT(fault(special_pieces + "cat\ncat \n"), HasSubstr("line 7"));
}

TEST(Vocabulary, NamesTheEmptyLine) {
  EXPECT_THAT(fault(special_pieces + "\ncat\n"),
              AllOf(HasSubstr("some/vocab.txt"), HasSubstr("line 6"), HasSubstr("empty")));
  EXPECT_THAT(fault(special_pieces + "cat\n\n"), HasSubstr("line 7"));
  EXPECT_THAT(fault(special_pieces + "cat\n \t\r\n"), HasSubstr("line 7"));
}

TEST(Vocabulary, NamesTheSpecialPieceThatIsMissing) {
  for (const std::string piece : {"[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"}) {
    std::string text = special_pieces + "cat\n";
    text.erase(text.find(piece), piece.size() + 1);
    EXPECT_THAT(fault(text), AllOf(HasSubstr("some/vocab.txt"), HasSubstr(piece)));
  }
  EXPECT_THAT(fault(""), HasSubstr("missing"));
}

TEST(Vocabulary, RefusesWhatIsTooLargeForOne) {
  std::string many = special_pieces;
  for (int i = 0; i < (1 << 20); ++i) {
    many += std::to_string(i) + "\n";
  }
  EXPECT_THAT(fault(many), AllOf(HasSubstr("some/vocab.txt"), HasSubstr("1048576 at most")));
  EXPECT_THAT(fault(special_pieces + std::string(size_t{17} << 20, 'x')),
              HasSubstr("bytes and 6 lines"));
  // Not read to its end; nor is what has none waited for.
  const test::TemporaryFolder folder;
  std::ofstream(folder / "vocab.txt").close();
  std::filesystem::resize_file(folder / "vocab.txt", uintmax_t{1} << 30);
  try {
    Vocabulary::load(folder / "vocab.txt");
    FAIL() << "no Error";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::bad_input);
    EXPECT_THAT(error.what(), HasSubstr("vocab.txt: has more than 16777216 bytes"));
  }
  try {
    Vocabulary::load("/dev/zero");
    FAIL() << "no Error";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::bad_input);
    EXPECT_THAT(error.what(), HasSubstr("/dev/zero: is not a regular file"));
  }
}

TEST(Vocabulary, NamesTheFileThatIsNotThere) {
  try {
    Vocabulary::load("/nowhere/vocab.txt");
    FAIL() << "no Error";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::io);
    EXPECT_THAT(error.what(), HasSubstr("/nowhere/vocab.txt"));
  }
}

TEST(Vocabulary, EveryPieceOfTheRealOnesIsFound) {
  BERTRAND_NEEDS_SHARED("data/vocab/bert-base-cased-vocab.txt");
  for (const auto& [name, size] : {std::pair("cased", 28996u), std::pair("uncased", 30522u)}) {
    const Vocabulary vocabulary = Vocabulary::load(
        test::shared_folder() / "data/vocab" / ("bert-base-" + std::string(name) + "-vocab.txt"));
    ASSERT_EQ(vocabulary.size(), size);
    for (size_t i = 0; i < size; ++i) {
      const auto id = static_cast<int32_t>(i);
      const std::string_view piece = vocabulary.piece(id);
      ASSERT_EQ(vocabulary.find(piece), id) << piece;
      const bool inside = piece.starts_with("##") && piece.size() > 2;
      ASSERT_EQ(vocabulary.find_longest(inside ? piece.substr(2) : piece, inside).id, id) << piece;
    }
  }
}

}  // namespace
}  // namespace bertrand
