// Indexes of TensorFlow that lie: sizes, places and blocks that cannot be.
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "checkpoint/checkpoint.h"
#include "checkpoint/fixtures.h"
#include "checkpoint/made_bundle.h"
#include "checkpoint/peak_memory.h"

namespace bertrand {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

constexpr uint64_t kHuge = uint64_t{1} << 63;
const std::string restarts("\0\0\0\0\1\0\0\0", 8);

class TfIndexTest : public ::testing::Test {
 protected:
  TfIndexTest() { test::write(folder_ / "x.data-00000-of-00001", std::string(24, '\0')); }

  std::shared_ptr<const Checkpoint> open(const std::string& index) {
    test::write(folder_ / "x.index", index);
    return open_checkpoint(folder_ / "x");
  }

  std::string refusal(const std::string& index) {
    const test::PeakMemory peak;
    std::string text = test::error_of(3, [&] { open(index); });
    EXPECT_LT(peak.bytes(), test::kMostMemory) << text;
    EXPECT_THAT(text, HasSubstr("x.index"));
    return text;
  }

  /// Opens well, and reading tensor 0 is refused.
  std::string refusal_to_read(const std::string& index) {
    const auto checkpoint = open(index);
    std::vector<std::byte> buffer;
    return test::error_of(3, [&] { checkpoint->read(0, buffer); });
  }

  test::TemporaryFolder folder_;
};

/// Of the 24 zeros in the data file.
uint32_t checksum() { return test::masked_checksum(std::string(24, '\0')); }

TEST_F(TfIndexTest, ReadsWhatIsMadeByHand) {
  const auto checkpoint = open(test::made_index({{"a", {{2, 3}, 0, 24, checksum()}}}));
  std::vector<std::byte> buffer;
  EXPECT_EQ(checkpoint->read(0, buffer).size(), 24U);
  EXPECT_THAT(checkpoint->problems(), IsEmpty());
}

TEST_F(TfIndexTest, ListsTensorsOfEveryType) {
  std::map<std::string, test::MadeVariable> variables;
  for (const auto& [type, name] : {std::pair(7, "a.text"),
                                   {8, "b.c64"},
                                   {11, "c.quantized"},
                                   {17, "d.u16"},
                                   {18, "e.c128"},
                                   {20, "f.resource"},
                                   {22, "g.u32"},
                                   {23, "h.u64"},
                                   {24, "i.f8"},
                                   {99, "j.new"}}) {
    variables[name] = {{1}, 0, 0, 0, {}, static_cast<uint64_t>(type)};
  }
  variables["a.text"].size = 7;
  variables["bert/adam_m"] = {{1}, 8, 4, 0};
  const auto checkpoint = open(test::made_index(variables));
  const auto told = [](const std::vector<TensorInfo>& tensors) {
    std::vector<std::string> all;
    all.reserve(tensors.size());
    for (const TensorInfo& info : tensors) {
      all.push_back(info.name + " " + std::string(name_of(info.type)) + " " +
                    std::to_string(info.bytes()));
    }
    return all;
  };
  EXPECT_THAT(told(checkpoint->tensors()),
              ElementsAre("b.c64 C64 8", "d.u16 U16 2", "e.c128 C128 16", "g.u32 U32 4",
                          "h.u64 U64 8", "i.f8 F8_E5M2 1"));
  EXPECT_THAT(told(checkpoint->others()),
              ElementsAre("a.text TEXT 7", "bert/adam_m F32 4", "c.quantized UNKNOWN 0",
                          "f.resource UNKNOWN 0", "j.new UNKNOWN 0"));
}

TEST_F(TfIndexTest, RefusesSizesAndPlacesThatCannotBe) {
  for (const auto& shape :
       {std::vector{kHuge}, std::vector{kHuge, uint64_t{2}},
        std::vector{uint64_t{1} << 32, uint64_t{1} << 31}, std::vector{~uint64_t{0}}}) {
    EXPECT_THAT(refusal(test::made_index({{"a", {shape, 0, 24, checksum()}}})),
                HasSubstr("\"a\" has an impossible shape"));
  }
  const std::string far = test::made_index({{"a", {{6}, kHuge, 24, checksum()}}});
  EXPECT_THAT(open(far)->problems(), ElementsAre(HasSubstr("is too short for \"a\"")));
  EXPECT_THAT(refusal_to_read(far), HasSubstr("lies behind its end"));
  const std::string large = test::made_index({{"a", {{6}, 0, kHuge, checksum()}}});
  EXPECT_THAT(open(large)->problems(), ElementsAre(HasSubstr("is too short for \"a\"")));
  EXPECT_THAT(refusal_to_read(large), HasSubstr("does not have the bytes of its shape"));
  EXPECT_THAT(refusal_to_read(test::made_index({{"a", {{5}, 0, 24, checksum()}}})),
              HasSubstr("does not have the bytes of its shape"));
}

TEST_F(TfIndexTest, RefusesTensorsThatLieOverEachOther) {
  EXPECT_THAT(refusal(test::made_index({{"a", {{6}, 0, 24, checksum()}}, {"b", {{1}, 20, 4, 0}}})),
              HasSubstr("\"b\" lies over another tensor"));
  EXPECT_THAT(refusal(test::made_index({{"a", {{1}, kHuge, 4, 0}}, {"b", {{1}, kHuge + 3, 4, 0}}})),
              HasSubstr("\"b\" lies over another tensor"));
  EXPECT_EQ(
      open(test::made_index({{"a", {{5}, 0, 20, 0}}, {"b", {{1}, 20, 4, 0}}}))->tensors().size(),
      2U);
}

TEST_F(TfIndexTest, TellsOfAShortFileOnce) {
  std::map<std::string, test::MadeVariable> many;
  for (uint64_t i = 0; i < 10'000; ++i) many[std::to_string(i)] = {{1}, 24 + 4 * i, 4, 0};
  EXPECT_THAT(
      open(test::made_index(many))->problems(),
      ElementsAre(HasSubstr("is too short for \"0\", \"1\", \"10\" and 9997 more; was it")));
}

TEST_F(TfIndexTest, RefusesBlocksThatCannotBe) {
  const std::string header = test::entry_of("", test::field(1, 1));
  // Snappy's length of what it packs: 2^31, then what fits and is not there.
  EXPECT_THAT(refusal(test::made_table(test::block_of("\x80\x80\x80\x80\x08", '\1'))),
              HasSubstr("packed in a way that is not known"));
  EXPECT_THAT(refusal(test::made_table(test::block_of("\x80\x80\x80\x01", '\1'))),
              HasSubstr("cannot be unpacked"));
  EXPECT_THAT(refusal(test::made_table(test::block_of(header + restarts, '\2'))),
              HasSubstr("packed in a way that is not known"));
  EXPECT_THAT(refusal(test::made_table(test::block_of("\xff\xff\xff\xff"))),
              HasSubstr("a block is too short"));
  for (const std::string& entry : {test::varint(kHuge) + test::varint(0) + test::varint(0),
                                   test::varint(0) + test::varint(kHuge) + test::varint(0),
                                   test::varint(0) + test::varint(0) + test::varint(kHuge)}) {
    const std::string content = std::string(header).append(entry).append(restarts);
    EXPECT_THAT(refusal(test::made_table(test::block_of(content))),
                HasSubstr("the file is damaged"));
  }
  std::string table = test::made_index({{"a", {{6}, 0, 24, checksum()}}});
  const std::string handle = test::varint(kHuge) + test::varint(1);
  table.replace(table.size() - 48, 2 + handle.size(), test::varint(0) + test::varint(0) + handle);
  EXPECT_THAT(refusal(table), HasSubstr("a block lies outside the file"));
}

TEST_F(TfIndexTest, RefusesMoreThanACheckpointHas) {
  std::map<std::string, test::MadeVariable> many;
  for (int i = 0; i < 70'000; ++i) many[std::to_string(i)] = {{1}, 0, 4, 0};
  EXPECT_THAT(refusal(test::made_index(many)), HasSubstr("holds more entries"));
  many = {{std::string(513, 'k'), {{1}, 0, 4, 0}}};
  EXPECT_THAT(refusal(test::made_index(many)), HasSubstr("kkk...\" has more bytes than are read"));
  many.clear();
  for (int i = 0; i < 300; ++i) {
    many[std::string(1, '\0') + std::string(60'000, 'k') + std::to_string(i)] = {{1}, 0, 4, 0};
  }
  EXPECT_THAT(refusal(test::made_index(many)), HasSubstr("holds more entries"));
  std::string message = test::field(1, 1) + test::field(2, test::field(2, test::field(1, 6)));
  const std::string slice = test::field(7, test::field(1, test::field(1, 1)));
  for (int i = 0; i < 70'000; ++i) message += slice;
  EXPECT_THAT(refusal(test::made_table(test::block_of(test::entry_of("", test::field(1, 1)) +
                                                      test::entry_of("a", message) + restarts))),
              HasSubstr("there are more slices than are read"));
  many = {{"a", {std::vector<uint64_t>(17, 1), 0, 4, 0}}};
  EXPECT_THAT(refusal(test::made_index(many)),
              HasSubstr("a tensor has more dimensions than are read"));
}

}  // namespace
}  // namespace bertrand
