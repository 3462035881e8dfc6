// Wires the sandbox's parts together for a process.
#include "tools/sandbox/service.h"

namespace steplog::sandbox {
namespace {

std::unique_ptr<Sender> make_sender(SenderOptions options, Sandbox& sandbox) {
    if (options.url.empty()) return nullptr;
    options.on_delivered = [&sandbox](const std::string& id) { sandbox.mark_delivered(id); };
    return std::make_unique<Sender>(std::move(options));
}

}  // namespace

Service::Service(ServiceOptions options)
    : sandbox_(options.sandbox),
      sender_(make_sender(options.sender, sandbox_)),
      control_(sandbox_, sender_.get()) {
    if (!options.sender.url.empty()) sandbox_.set_webhook_endpoint(options.sender.url, true);
    if (options.separate_ports) {
        for (const Provider provider : all_providers) {
            own_[static_cast<std::size_t>(provider)] = std::make_unique<HttpServer>(
                "127.0.0.1:0", [this, provider](const SandboxRequest& request) {
                    return serve(request, provider);
                });
        }
    }
    main_ = std::make_unique<HttpServer>(options.listen, [this](const SandboxRequest& request) {
        return serve(request, std::nullopt);
    });
}

Service::~Service() {
    // The control API may be changing who listens: its port goes first.
    main_.reset();
    for (auto& server : own_) server.reset();
}

std::string Service::base(Provider provider) const {
    const auto& own = own_[static_cast<std::size_t>(provider)];
    return own ? own->base() : main_->base();
}

Json Service::bases() const {
    Json bases = {{"sandbox", main_->base()}};
    for (const Provider provider : all_providers) {
        bases[std::string(to_string(provider))] = base(provider);
    }
    return bases;
}

Served Service::serve(const SandboxRequest& request, std::optional<Provider> provider) {
    if (request.target.starts_with("/_sandbox/")) {
        Served served;
        served.reply = control_.handle(request);
        follow_faults();
        return served;
    }
    Exchange exchange = sandbox_.exchange(request, provider);
    Served served;
    served.wire = exchange.wire;
    served.delay = exchange.delay;
    served.reply = std::move(exchange.reply);
    served.done = [this, exchange = std::move(exchange)] { sandbox_.finish(exchange); };
    if (sender_) {
        const std::vector<Event> caused = sandbox_.take_outbox();
        if (!caused.empty()) sender_->send(caused);
    }
    return served;
}

void Service::follow_faults() {
    const std::scoped_lock lock(faults_mutex_);
    for (const Provider provider : all_providers) {
        auto& own = own_[static_cast<std::size_t>(provider)];
        if (own) own->set_listening(!sandbox_.is_down(provider));
    }
}

}  // namespace steplog::sandbox
