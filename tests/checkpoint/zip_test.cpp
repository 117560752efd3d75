#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "checkpoint/fixtures.h"
#include "checkpoint/made_torch.h"
#include "checkpoint/zip_archive.h"
#include "checkpoint/zip_writer.h"
#include "shared_data.h"

namespace bertrand {
namespace {

using ::testing::HasSubstr;

std::string text_of(std::span<const std::byte> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

TEST(Zip, ReadsWhatIsWritten) {
  const test::TemporaryFolder folder;
  ZipWriter writer(folder / "x.zip");
  writer.add("b", "second");
  writer.add("a", "");
  writer.begin("c", 3);
  writer.write(test::as_bytes("th"));
  writer.write(test::as_bytes("d"));
  writer.end();
  writer.commit();
  const std::string file = test::read(folder / "x.zip");
  const ZipArchive archive = ZipArchive::parse(test::as_bytes(file), "x.zip");
  ASSERT_EQ(archive.entries().size(), 3U);
  std::vector<std::byte> buffer;
  const auto* entry = archive.find("b");
  ASSERT_NE(entry, nullptr);
  const auto content = archive.read(*entry, 0, entry->size, /*check=*/true, buffer);
  EXPECT_EQ(text_of(content), "second");
  EXPECT_EQ((reinterpret_cast<const char*>(content.data()) - file.data()) % 64, 0);
  EXPECT_EQ(text_of(archive.read(*archive.find("c"), 1, 2, true, buffer)), "hd");
  EXPECT_EQ(archive.find("d"), nullptr);
  EXPECT_THAT(test::error_of(3, [&] { archive.read(*entry, 4, 3, true, buffer); }),
              HasSubstr("x.zip: entry \"b\" is too short"));
}

TEST(Zip, UnpacksOnlyWhatIsAskedFor) {
  const std::string file = test::read(test::source_folder() / "fuzz/corpus/torch_zip/deflated.pt");
  const ZipArchive archive = ZipArchive::parse(test::as_bytes(file), "x.zip");
  const auto* entry = archive.find("m/data.pkl");
  ASSERT_NE(entry, nullptr);
  EXPECT_TRUE(entry->deflated);
  std::vector<std::byte> buffer;
  EXPECT_EQ(text_of(archive.read(*entry, 3, 11, true, buffer)), "collections");
  EXPECT_EQ(buffer.size(), 11U);
}

TEST(Zip, RefusesSizesThatCannotBe) {
  std::string file = test::read(test::source_folder() / "fuzz/corpus/torch_zip/deflated.pt");
  const size_t entry = file.find("PK\x01\x02");
  const uint32_t huge = 0xfffffffe;
  std::memcpy(file.data() + entry + 24, &huge, sizeof huge);
  EXPECT_THAT(test::error_of(3, [&] { ZipArchive::parse(test::as_bytes(file), "x.zip"); }),
              HasSubstr("cannot have 4294967294 bytes"));
}

/// An archive whose entries tell `checksum` each, right or not.
std::string with_checksum(uint32_t first, uint32_t second) {
  auto stored = test::stored("a", "first");
  auto deflated = test::deflated("b", "second");
  stored.crc = first;
  deflated.crc = second;
  return test::made_zip({stored, deflated});
}

TEST(Zip, ReadsArchivesWithoutChecksums) {
  const auto read = [](const std::string& file, const char* name) {
    const ZipArchive archive = ZipArchive::parse(test::as_bytes(file), "x.zip");
    const auto* entry = archive.find(name);
    std::vector<std::byte> buffer;
    std::string parts;
    archive.read_parts(*entry, 0, entry->size, /*check=*/true,
                       [&](std::span<const std::byte> part) { parts += text_of(part); });
    EXPECT_EQ(text_of(archive.read(*entry, 0, entry->size, /*check=*/true, buffer)), parts);
    return parts;
  };
  const std::string none = with_checksum(0, 0);
  EXPECT_FALSE(ZipArchive::parse(test::as_bytes(none), "x.zip").has_checksums());
  EXPECT_EQ(read(none, "a"), "first");
  EXPECT_EQ(read(none, "b"), "second");
  // Where one entry has a checksum, all have.
  const std::string some = with_checksum(0, test::crc_of("second"));
  EXPECT_TRUE(ZipArchive::parse(test::as_bytes(some), "x.zip").has_checksums());
  EXPECT_EQ(read(some, "b"), "second");
  EXPECT_THAT(test::error_of(3, [&] { read(some, "a"); }), HasSubstr("does not have the checksum"));
  const std::string other = with_checksum(test::crc_of("first"), 0);
  EXPECT_THAT(test::error_of(3, [&] { read(other, "b"); }), HasSubstr("does not unpack to what"));
}

}  // namespace
}  // namespace bertrand
