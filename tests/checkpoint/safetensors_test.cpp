#include "checkpoint/safetensors.h"

#include <limits>
#include <string>
#include <vector>

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "checkpoint/fixtures.h"

namespace bertrand {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using ::testing::StartsWith;

constexpr const char* kGood =
    R"({"__metadata__":{"format":"pt"},"b":{"dtype":"I64","shape":[2],"data_offsets":[4,20]},)"
    R"("a":{"dtype":"F16","shape":[2,1],"data_offsets":[0,4]},)"
    R"("none":{"dtype":"F32","shape":[0,3],"data_offsets":[20,20]},)"
    R"("scalar":{"dtype":"BOOL","shape":[],"data_offsets":[20,21]}}  )";

SafetensorsFile::Contents parse(const std::string& file) {
  return SafetensorsFile::parse(test::as_bytes(file), "x.safetensors");
}

std::string refusal(const std::string& file) {
  std::string text = test::error_of(3, [&] { parse(file); });
  EXPECT_THAT(text, StartsWith("x.safetensors: "));
  return text;
}

/// The refusal of a header before `size` bytes of data.
std::string refusal(const std::string& header, size_t size) {
  return refusal(test::safetensors(header, std::string(size, '\0')));
}

TEST(Safetensors, ReadsTensorsInOrderOfTheirBytes) {
  const std::string file =
      test::safetensors(kGood, test::bytes_of(std::vector<uint16_t>{0x3c00, 0xc000}) +
                                   test::bytes_of(std::vector<int64_t>{-5, 7}) + "\1");
  const test::TemporaryFolder folder;
  test::write(folder / "x.safetensors", file);
  const SafetensorsFile opened = SafetensorsFile::open(folder / "x.safetensors");
  ASSERT_EQ(opened.tensors().size(), 4U);
  EXPECT_EQ(opened.tensors()[0].name, "a");
  EXPECT_EQ(opened.tensors()[0].type, DataType::f16);
  EXPECT_THAT(opened.tensors()[0].shape, ElementsAre(2, 1));
  EXPECT_EQ(opened.tensors()[0].size(), 2);
  EXPECT_EQ(opened.tensors()[1].name, "b");
  int64_t second = 0;
  std::memcpy(&second, opened.find("b")->bytes.data() + 8, sizeof second);
  EXPECT_EQ(second, 7);
  EXPECT_EQ(opened.find("none")->size(), 0);
  EXPECT_EQ(opened.find("scalar")->size(), 1);
  EXPECT_EQ(opened.find("scalar")->bytes[0], std::byte{1});
  EXPECT_EQ(opened.find("c"), nullptr);
  EXPECT_EQ(opened.metadata().at("format"), "pt");
}

TEST(Safetensors, StaysReadableWhenMoved) {
  const test::TemporaryFolder folder;
  test::write(folder / "x",
              test::safetensors(R"({"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}})", "q"));
  SafetensorsFile first = SafetensorsFile::open(folder / "x");
  const SafetensorsFile second = std::move(first);
  EXPECT_EQ(second.find("a")->bytes[0], std::byte{'q'});
}

TEST(Safetensors, ReadsAFileWithoutTensors) {
  EXPECT_THAT(parse(test::safetensors("{}", "")).tensors, IsEmpty());
}

TEST(Safetensors, RefusesEveryTruncation) {
  const std::string file = test::safetensors(kGood, std::string(21, '\0'));
  EXPECT_EQ(parse(file).tensors.size(), 4U);
  for (size_t size = 0; size < file.size(); ++size) {
    EXPECT_NE(refusal(file.substr(0, size)), "") << size;
  }
  EXPECT_THAT(refusal(file + "x"), HasSubstr("1 bytes at the end belong to no tensor"));
}

TEST(Safetensors, RefusesALengthThatIsNotTheHeaders) {
  EXPECT_THAT(refusal(""), HasSubstr("it has 0 bytes, too few"));
  for (const uint64_t length :
       {uint64_t{3}, uint64_t{100'000'001}, uint64_t{1} << 63, ~uint64_t{0}, ~uint64_t{7}}) {
    EXPECT_THAT(refusal(test::bytes_of(std::vector<uint64_t>{length}) + "{}"),
                HasSubstr("the header should have " + std::to_string(length) + " bytes, and 2"));
  }
}

TEST(Safetensors, RefusesAHeaderThatIsNotJson) {
  EXPECT_THAT(refusal(R"({"a":})", 0), HasSubstr("not valid JSON at byte 14"));
  EXPECT_THAT(refusal("", 0), HasSubstr("does not begin with {"));
  EXPECT_THAT(refusal("[]", 0), HasSubstr("does not begin with {"));
  EXPECT_THAT(refusal(" {}", 0), HasSubstr("does not begin with {"));
  EXPECT_THAT(refusal("{} {}", 0), HasSubstr("not valid JSON"));
  EXPECT_THAT(refusal(std::string("{}\0\0", 4), 0), HasSubstr("zero byte"));
  EXPECT_THAT(refusal("{\"\xff\":1}", 0), HasSubstr("not valid JSON"));
  EXPECT_THAT(refusal(R"({"a":1e999})", 0), HasSubstr("not valid JSON"));
}

TEST(Safetensors, RefusesWhatIsOutOfPlace) {
  const auto tensor = [](const std::string& fields) {
    return refusal("{\"a\":{" + fields + "}}", 1);
  };
  EXPECT_THAT(refusal(R"({"a":7})", 0), HasSubstr("a number out of place after \"a\""));
  EXPECT_THAT(refusal(R"({"a":null})", 0), HasSubstr("null out of place"));
  EXPECT_THAT(refusal(R"({"a":[]})", 0), HasSubstr("an array out of place"));
  EXPECT_THAT(refusal(R"({"__metadata__":{"a":1}})", 0), HasSubstr("a number out of place"));
  EXPECT_THAT(refusal(R"({"__metadata__":{"a":{}}})", 0), HasSubstr("an object out of place"));
  EXPECT_THAT(refusal(R"({"__metadata__":{"a":"","a":""}})", 0), HasSubstr("\"a\" twice"));
  EXPECT_THAT(tensor(R"("dtype":"U8","shape":[[1]],"data_offsets":[0,1])"), HasSubstr("an array"));
  EXPECT_THAT(tensor(R"("dtype":"U8","shape":[-1],"data_offsets":[0,1])"), HasSubstr("negative"));
  EXPECT_THAT(tensor(R"("dtype":"U8","shape":[1.0],"data_offsets":[0,1])"), HasSubstr("not whole"));
  EXPECT_THAT(tensor(R"("dtype":"U8","shape":["1"],"data_offsets":[0,1])"), HasSubstr("a string"));
  EXPECT_THAT(tensor(R"("dtype":"U8","shape":true,"data_offsets":[0,1])"), HasSubstr("truth"));
  EXPECT_THAT(tensor(R"("dtype":8)"), HasSubstr("a number"));
  EXPECT_THAT(tensor(R"("dtype":"U8","shape":[1],"data_offsets":[0,1,2])"), HasSubstr("a number"));
  EXPECT_THAT(tensor(R"("dtype":"U8","dtype":"U8")"), HasSubstr("has \"dtype\" twice"));
  EXPECT_THAT(tensor(R"("shape":[],"shape":[])"), HasSubstr("has \"shape\" twice"));
  EXPECT_THAT(tensor(R"("strides":[1])"), HasSubstr("a field \"strides\""));
  EXPECT_THAT(tensor(R"("dtype":"F2")"), HasSubstr("the type \"F2\", which is not"));
  for (const char* lacking : {R"("shape":[1],"data_offsets":[0,1])", R"("dtype":"U8","shape":[1])",
                              R"("dtype":"U8","data_offsets":[0,1])", "",
                              R"("dtype":"U8","shape":[1],"data_offsets":[0])"}) {
    EXPECT_THAT(tensor(lacking), HasSubstr("tensor \"a\" lacks one of")) << lacking;
  }
}

TEST(Safetensors, RefusesTensorsThatDoNotFillTheFile) {
  const auto one = [](const char* shape, const char* offsets) {
    return refusal(std::string(R"({"a":{"dtype":"F32","shape":)") + shape + R"(,"data_offsets":)" +
                       offsets + "}}",
                   8);
  };
  EXPECT_THAT(one("[2]", "[8,0]"), HasSubstr("should be bytes 8 to 0 of 8"));
  EXPECT_THAT(one("[4]", "[0,16]"), HasSubstr("should be bytes 0 to 16 of 8"));
  EXPECT_THAT(one("[2]", "[18446744073709551608,18446744073709551616]"), HasSubstr("whole"));
  EXPECT_THAT(one("[2]", "[18446744073709551600,18446744073709551608]"), HasSubstr("of 8"));
  EXPECT_THAT(one("[3]", "[0,8]"), HasSubstr("do not agree with its 8 bytes"));
  EXPECT_THAT(one("[0]", "[0,8]"), HasSubstr("do not agree"));
  EXPECT_THAT(one("[1]", "[4,8]"), HasSubstr("comes after a gap at byte 4"));
  EXPECT_THAT(one("[1]", "[0,4]"), HasSubstr("4 bytes at the end belong to no tensor"));
}

TEST(Safetensors, RefusesShapesThatOverflow) {
  for (const char* shape :
       {"[4611686018427387904,4]", "[4294967296,4294967296]", "[9223372036854775808,0]",
        "[18446744073709551615]", "[2,9223372036854775809]", "[4294967296,2147483648,0]"}) {
    EXPECT_THAT(refusal(std::string(R"({"a":{"dtype":"F32","shape":)") + shape +
                            R"(,"data_offsets":[0,0]}})",
                        0),
                HasSubstr("do not agree with its 0 bytes"))
        << shape;
  }
  std::string many = "[1";
  for (int i = 0; i < 64; ++i) {
    many += ",1";
  }
  EXPECT_THAT(refusal(R"({"a":{"dtype":"U8","shape":)" + many + R"(],"data_offsets":[0,1]}})", 1),
              HasSubstr("tensor \"a\" holds more than the 64 dimensions that are read."));
}

TEST(Safetensors, ReadsTypesThatNoModelHas) {
  const std::string header = R"({"a":{"dtype":"U16","shape":[2],"data_offsets":[0,4]},)"
                             R"("b":{"dtype":"F8_E5M2","shape":[1],"data_offsets":[4,5]},)"
                             R"("c":{"dtype":"C64","shape":[1],"data_offsets":[5,13]}})";
  const std::string file = test::safetensors(header, std::string(13, 'v'));
  const auto contents = parse(file);
  ASSERT_EQ(contents.tensors.size(), 3U);
  EXPECT_EQ(contents.tensors[0].type, DataType::u16);
  EXPECT_EQ(contents.tensors[1].type, DataType::f8_e5m2);
  EXPECT_EQ(contents.tensors[2].bytes.size(), 8U);
}

TEST(Safetensors, ReadsTypesNarrowerThanAByte) {
  const auto one = [](const char* type, const char* shape, size_t bytes) {
    return test::safetensors(
        fmt::format(R"({{"a":{{"dtype":"{}","shape":{},"data_offsets":[0,{}]}}}})", type, shape,
                    bytes),
        std::string(bytes, 'v'));
  };
  for (const char* type : {"F8_E4M3FNUZ", "F8_E5M2FNUZ", "F8_E8M0"}) {
    EXPECT_EQ(parse(one(type, "[3]", 3)).tensors.at(0).bytes.size(), 3U) << type;
  }
  EXPECT_EQ(parse(one("F4", "[3,2]", 3)).tensors.at(0).bytes.size(), 3U);
  EXPECT_EQ(parse(one("F6_E2M3", "[4]", 3)).tensors.at(0).type, DataType::f6_e2m3);
  EXPECT_EQ(parse(one("F6_E3M2", "[8]", 6)).tensors.at(0).type, DataType::f6_e3m2);
  EXPECT_EQ((TensorInfo{"a", DataType::f6_e3m2, {8}}).bytes(), 6U);
  for (const auto& file : {one("F4", "[3]", 1), one("F4", "[3]", 2), one("F6_E2M3", "[2]", 2)}) {
    EXPECT_THAT(test::error_of(3, [&] { parse(file); }), HasSubstr("do not agree with its"));
  }
}

TEST(Safetensors, DoesNotCallANewTypeDamage) {
  for (const char* type : {"F2", "TEXT", "UNKNOWN"}) {
    const std::string text = refusal(
        std::string(R"({"a":{"dtype":")") + type + R"(","shape":[1],"data_offsets":[0,1]}})", 1);
    EXPECT_THAT(text, HasSubstr(std::string("has the type \"") + type + "\", which is not read"));
    EXPECT_THAT(text, Not(HasSubstr("damaged")));
  }
}

TEST(Safetensors, RefusesOverlapsAndRepeatedNames) {
  const auto two = [](const char* second, const char* offsets) {
    return refusal(std::string(R"({"a":{"dtype":"U8","shape":[2],"data_offsets":[0,2]},")") +
                       second + R"(":{"dtype":"U8","shape":[2],"data_offsets":)" + offsets + "}}",
                   4);
  };
  EXPECT_THAT(two("b", "[1,3]"), HasSubstr("\"b\" overlaps the one before it at byte 1"));
  EXPECT_THAT(two("b", "[0,2]"), HasSubstr("overlaps the one before it at byte 0"));
  EXPECT_THAT(two("a", "[2,4]"), HasSubstr("\"a\" is there twice"));
  EXPECT_THAT(refusal(R"({"__metadata__":{"x":"1"},"__metadata__":{"y":"2"}})", 0),
              HasSubstr("the metadata is there twice"));
}

TEST(Safetensors, ShowsNamesFitForATerminal) {
  const std::string text = refusal("{\"\\u001b[31m\xc3\xa9" + std::string(400, 'x') + "\":7}", 0);
  EXPECT_THAT(text, HasSubstr("\"\\u001b[31m\\u00e9xxx"));
  EXPECT_LT(text.size(), 400U);
}

TEST(Safetensors, LimitsTheMetadata) {
  std::string header = R"({"__metadata__":{"0":"")";
  for (int i = 1; i <= 1 << 16; ++i) {
    header += ",\"" + std::to_string(i) + "\":\"\"";
  }
  EXPECT_THAT(refusal(header + "}}", 0), HasSubstr("more than the 65536 entries"));
}

TEST(Safetensors, NamesTheFileThatCannotBeOpened) {
  EXPECT_THAT(test::error_of(1, [] { SafetensorsFile::open("/nowhere/x.safetensors"); }),
              HasSubstr("/nowhere/x.safetensors: cannot be opened"));
}

TEST(SafetensorsWriter, WritesWhatIsReadAgain) {
  const test::TemporaryFolder folder;
  const std::vector<float> values = {1.5F, -2, 0.25F};
  {
    SafetensorsWriter writer(folder / "x", {{"z", DataType::bf16, {3}},
                                            {"\"quoted\" \xc3\xa9", DataType::i64, {1, 1}},
                                            {"empty", DataType::f32, {0}},
                                            {"a", DataType::f32, {3, 1}}});
    writer.write(values);
    writer.write_bytes(test::as_bytes("12345678"));
    writer.write({});
    EXPECT_FALSE(std::filesystem::exists(folder / "x"));
    writer.write(values);
    writer.commit();
  }
  const SafetensorsFile file = SafetensorsFile::open(folder / "x");
  ASSERT_EQ(file.tensors().size(), 4U);
  EXPECT_EQ(file.metadata().at("format"), "pt");
  std::vector<float> again(3);
  to_f32(*file.find("z"), again);
  EXPECT_EQ(again, values);
  to_f32(*file.find("a"), again);
  EXPECT_EQ(again, values);
  EXPECT_EQ(file.find("\"quoted\" \xc3\xa9")->bytes[7], std::byte{'8'});
  uint64_t length = 0;
  std::memcpy(&length, test::read(folder / "x").data(), sizeof length);
  EXPECT_EQ(length % 8, 0U);
}

TEST(SafetensorsWriter, ConvertsLongTensorsInBlocks) {
  const test::TemporaryFolder folder;
  std::vector<float> values(200'001);
  for (size_t i = 0; i < values.size(); ++i) {
    values[i] = static_cast<float>(i % 2048);
  }
  SafetensorsWriter writer(folder / "x", {{"a", DataType::f16, {200'001}}});
  writer.write(values);
  writer.commit();
  std::vector<float> again(values.size());
  to_f32(SafetensorsFile::open(folder / "x").tensors()[0], again);
  EXPECT_EQ(again, values);
}

TEST(SafetensorsWriter, LeavesNothingBehindUnlessCommitted) {
  const test::TemporaryFolder folder;
  const std::vector<float> one = {1};
  {
    SafetensorsWriter writer(folder / "x", {{"a", DataType::f32, {1}}, {"b", DataType::f32, {1}}});
    writer.write(one);
    EXPECT_THAT(test::error_of(1, [&] { writer.commit(); }), HasSubstr("not every tensor"));
    EXPECT_THAT(test::error_of(1, [&] { writer.write({}); }), HasSubstr("not those announced"));
    writer.write(one);
    EXPECT_THAT(test::error_of(1, [&] { writer.write(one); }), HasSubstr("not those announced"));
  }
  EXPECT_TRUE(std::filesystem::is_empty(folder.path()));
}

TEST(SafetensorsWriter, RefusesFiniteValuesThatItsTypeCannotHold) {
  const test::TemporaryFolder folder;
  const auto write = [&](float value, DataType type = DataType::f16) {
    SafetensorsWriter writer(folder / "x", {{"a", type, {1}}});
    writer.write({&value, 1});
    writer.commit();
  };
  write(65519);
  write(std::numeric_limits<float>::infinity());
  write(std::numeric_limits<float>::quiet_NaN());
  EXPECT_THAT(test::error_of(1, [&] { write(-65520); }),
              HasSubstr("a value of \"a\" is too large for F16"));
  write(0x1.FEFFFEp127F, DataType::bf16);
  write(-std::numeric_limits<float>::infinity(), DataType::bf16);
  EXPECT_THAT(test::error_of(1, [&] { write(0x1.FFp127F, DataType::bf16); }),
              HasSubstr("a value of \"a\" is too large for BF16"));
}

}  // namespace
}  // namespace bertrand
