#include "engine/torch_group.h"

#include <utility>

namespace bertrand {
namespace {

class JoinedProcesses final : public TorchProcessGroup {
 public:
  JoinedProcesses(std::shared_ptr<const TorchPlugin> plugin, const TorchGroupOptions& options)
      : plugin_(std::move(plugin)),
        place_(options.place),
        group_(create(options), plugin_->table().free_group) {}

  ProcessPlace place() const override { return place_; }

  void sum(std::span<double> values) override {
    plugin_->check(plugin_->table().sum_doubles(group_.get(), values.data(), values.size()));
  }
  void sum(std::span<float> values) override {
    plugin_->check(plugin_->table().sum_floats(group_.get(), values.data(), values.size()));
  }
  void broadcast(std::span<std::byte> bytes, unsigned root) override {
    plugin_->check(plugin_->table().broadcast(group_.get(), bytes.data(), bytes.size(), root));
  }
  void barrier() override { plugin_->check(plugin_->table().barrier(group_.get())); }

  BertrandTorchGroup* border() override { return group_.get(); }

 private:
  BertrandTorchGroup* create(const TorchGroupOptions& options) const {
    BertrandTorchGroupOptions border{};
    border.size = sizeof border;
    border.backend = options.backend.c_str();
    border.device = options.device.c_str();
    border.library = options.library.empty() ? nullptr : options.library.c_str();
    border.address = options.address.c_str();
    border.port = options.port;
    border.rank = options.place.rank;
    border.count = options.place.count;
    border.serves_store = options.serves_store ? 1 : 0;
    border.prefix = options.prefix.empty() ? nullptr : options.prefix.c_str();
    border.timeout = options.timeout_seconds;
    border.own_address = options.own_address.empty() ? nullptr : options.own_address.c_str();
    BertrandTorchGroup* group = nullptr;
    plugin_->check(plugin_->table().create_group(&border, &group));
    return group;
  }

  std::shared_ptr<const TorchPlugin> plugin_;
  ProcessPlace place_;
  std::unique_ptr<BertrandTorchGroup, void (*)(BertrandTorchGroup*)> group_;
};

}  // namespace

std::unique_ptr<TorchProcessGroup> make_torch_group(std::shared_ptr<const TorchPlugin> plugin,
                                                    const TorchGroupOptions& options) {
  return std::make_unique<JoinedProcesses>(std::move(plugin), options);
}

}  // namespace bertrand
