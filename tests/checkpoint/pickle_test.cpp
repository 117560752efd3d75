#include "checkpoint/pickle.h"

#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "checkpoint/fixtures.h"
#include "checkpoint/torch_state.h"

namespace bertrand {
namespace {

using ::testing::HasSubstr;
using namespace std::string_literals;

/// Its texts lie in `pickle`.
PickledObjects parse(const std::string& pickle) {
  Cursor cursor(test::as_bytes(pickle), "x.pt");
  return PickledObjects::parse(cursor, "x.pt");
}

std::string refusal(const std::string& pickle) {
  return test::error_of(3, [&] { parse(pickle); });
}

bool is_none(const PickledObjects& objects) {
  return objects.get<PickledObjects::None>(objects.root()) != nullptr;
}

TEST(Pickle, NeverCallsWhatIsNotATensor) {
  EXPECT_THAT(refusal("cos\nsystem\n(S'true'\ntR."), HasSubstr("wants os.system"));
  EXPECT_THAT(refusal("\x80\x04\x8c\x08"s + "builtins\x8c\x04" + "eval\x93."),
              HasSubstr("wants builtins.eval"));
  EXPECT_THAT(refusal("c__builtin__\ngetattr\n."), HasSubstr("wants __builtin__.getattr"));
  EXPECT_THAT(refusal("ctorch.nn.modules.linear\nLinear\n)\x81."),
              HasSubstr("wants torch.nn.modules.linear.Linear"));
  EXPECT_THAT(refusal("(S'true'\nios\nsystem\n."), HasSubstr("wants os.system"));
  EXPECT_THAT(refusal("(icollections\nOrderedDict\n."), HasSubstr("uses opcode 105"));
  EXPECT_THAT(refusal("(cos\nsystem\nS'true'\no."), HasSubstr("wants os.system"));
  EXPECT_THAT(refusal("(ccollections\nOrderedDict\no."), HasSubstr("uses opcode 111"));
  EXPECT_THAT(refusal("ccollections\nOrderedDict\n)\x81."), HasSubstr("uses opcode 129"));
  EXPECT_THAT(refusal("ctorch\nFloatStorage\n)R."), HasSubstr("calls a type of storage"));
  EXPECT_THAT(refusal("S'x'\n)R."), HasSubstr("the name of what to build"));
}

TEST(Pickle, ReadsOverPlainValuesAndMakesNothingOfThem) {
  const std::string type =
      "cnumpy\ndtype\nS'f8'\n\x89\x88\x87R(K\3S'<'\nNNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\0tb"s;
  const std::string bytes = "c_codecs\nencode\nS'8bytes..'\nS'latin1'\n\x86R";
  for (const std::string module : {"numpy.core.multiarray", "numpy._core.multiarray"}) {
    std::string pickle = "c";
    pickle.append(module).append("\nscalar\n").append(type).append(bytes).append("\x86R.");
    EXPECT_TRUE(is_none(parse(pickle))) << module;
  }
  EXPECT_TRUE(is_none(parse("cargparse\nNamespace\n)\x81}S'lr'\nK\1sb.")));
  EXPECT_THAT(refusal("cargparse\nNamespace\n)\x81}S'x'\ncpathlib\nPosixPath\n)Rsb."),
              HasSubstr("wants pathlib.PosixPath"));
  EXPECT_THAT(refusal("cnumpy.core.multiarray\n_reconstruct\n)R."),
              HasSubstr("wants numpy.core.multiarray._reconstruct"));
}

TEST(Pickle, BuildsDictionariesWithDefaults) {
  for (const std::string type :
       {"c__builtin__\nlist\n", "c__builtin__\nlong\n", "cbuiltins\nlist\n", "cbuiltins\nint\n",
        "cbuiltins\nfloat\n", "cbuiltins\ndict\n", "N"}) {
    const std::string pickle = "ccollections\ndefaultdict\n" + type + "\x85RS'a'\nK\1s.";
    const PickledObjects objects = parse(pickle);
    const auto* root = objects.get<PickledObjects::Dictionary>(objects.root());
    ASSERT_NE(root, nullptr) << type;
    EXPECT_EQ(root->items.size(), 1U);
  }
}

TEST(Pickle, BuildsNumbersTextsAndContainers) {
  const std::string pickle =
      "}(S'a'\nI-5\nS'b'\n\x8a\x02\x00\x80\x8c\x01"
      "c\x88u."s;
  const PickledObjects objects = parse(pickle);
  const auto* root = objects.get<PickledObjects::Dictionary>(objects.root());
  ASSERT_NE(root, nullptr);
  ASSERT_EQ(root->items.size(), 3U);
  EXPECT_EQ(objects.get<PickledObjects::Text>(root->items[0].first)->text, "a");
  EXPECT_EQ(*objects.get<int64_t>(root->items[0].second), -5);
  EXPECT_EQ(*objects.get<int64_t>(root->items[1].second), -32768);
  EXPECT_TRUE(*objects.get<bool>(root->items[2].second));
}

TEST(Pickle, TakesCirclesAsTheyAre) {
  const PickledObjects objects = parse("]q\0h\0a."s);
  const auto* list = objects.get<PickledObjects::List>(objects.root());
  ASSERT_NE(list, nullptr);
  EXPECT_EQ(list->items[0], objects.root());
  EXPECT_THAT(test::error_of(3,
                             [&] {
                               find_state(
                                   objects, "x.pt", [](const auto&) { return 0U; }, 0);
                             }),
              HasSubstr("holds no tensors"));
}

TEST(Pickle, RefusesWhatItsStackCannotGive) {
  for (const char* pickle :
       {".", "0.", "R.", "s.", "u.", "t.", "a.", "1.", "Q.", "b.", "h1.", "]]s.", "(K\1u.",
        "}(K\1u.", "Ix\n.", "I\n.", "S'\n.", "K", "X\xff\xff\xff\xff"}) {
    EXPECT_THAT(refusal(pickle), HasSubstr("x.pt: ")) << pickle;
  }
}

TEST(Pickle, StaysWithinItsMemory) {
  EXPECT_THAT(refusal(std::string(1 << 20, ']') + "."), HasSubstr("more objects than"));
  EXPECT_THAT(refusal("]r\xff\xff\xff\x7f."), HasSubstr("more objects than"));
  // A long tuple copied again and again.
  std::string again = "(" + std::string(100'000, 'N') + "tq\1";
  for (int i = 0; i < 10'000; ++i) again += "ccollections\nOrderedDict\nh\1R0";
  EXPECT_THAT(refusal(again + "."), HasSubstr("x.pt: "));
}

constexpr const char* kStorage =
    "ctorch._utils\n_rebuild_tensor_v2\n((S'storage'\nctorch\n"
    "FloatStorage\nS'0'\nS'cpu'\nI6\ntQ";

/// The refusal of a tensor in a storage of `bytes` bytes.
std::string tensor_refusal(const std::string& place, uint64_t bytes = 24) {
  const std::string pickle = "}S'a'\n"s + kStorage + place + "\x89}tRs.";
  const PickledObjects objects = parse(pickle);
  return test::error_of(3, [&] {
    find_state(
        objects, "x.pt", [&](const std::string&) { return bytes; }, bytes);
  });
}

TEST(TorchState, RefusesTensorsOutsideTheirStorage) {
  EXPECT_THAT(tensor_refusal("I1\n(I6\nt(I1\nt"), HasSubstr("\"a\" lies outside its storage"));
  EXPECT_THAT(tensor_refusal("I0\n(I2\nI3\nt(I4\nI1\nt"), HasSubstr("lies outside its storage"));
  EXPECT_THAT(tensor_refusal("I9223372036854775807\n(I1\nt(I1\nt"), HasSubstr("lies outside"));
  EXPECT_THAT(tensor_refusal("I0\n(I9223372036854775807\nt(I9223372036854775807\nt"),
              HasSubstr("lies outside its storage"));
  EXPECT_THAT(tensor_refusal("I0\n(I1099511627776\nt(I0\nt"),
              HasSubstr("repeat what lies in their storages more often than is read"));
  EXPECT_THAT(tensor_refusal("I0\n(I6\nt(I1\nt", 20), HasSubstr("needs a storage of 6 elements"));
}

TEST(TorchState, RefusesNegativeSizes) {
  EXPECT_THAT(refusal("}S'a'\n"s + kStorage + "I0\n(I-1\nt(I1\nt\x89}tRs."),
              HasSubstr("has a size below 0"));
}

}  // namespace
}  // namespace bertrand
