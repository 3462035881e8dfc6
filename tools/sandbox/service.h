// The running sandbox: stand-ins, control API and sender behind one port (and, on request, one port
// for each provider). Used by the program's `serve` and by tests that want real sockets. Any
// thread.
#pragma once

#include <memory>

#include "tools/sandbox/control.h"
#include "tools/sandbox/http_server.h"

namespace steplog::sandbox {

struct ServiceOptions {
    std::string listen = "127.0.0.1:0";
    bool separate_ports = false;  // a provider that is down then refuses connections really
    SandboxOptions sandbox;
    SenderOptions sender;  // no URL: nothing is delivered
};

class Service {
  public:
    /// Throws std::runtime_error when it cannot listen.
    explicit Service(ServiceOptions options);
    ~Service();

    Sandbox& sandbox() { return sandbox_; }
    Sender* sender() { return sender_.get(); }
    std::string base() const { return main_->base(); }
    std::string base(Provider provider) const;
    /// {"sandbox":…,"stripe":…,"clerk":…,"resend":…}
    Json bases() const;

  private:
    Served serve(const SandboxRequest& request, std::optional<Provider> provider);
    void follow_faults();

    Sandbox sandbox_;
    std::unique_ptr<Sender> sender_;
    Control control_;
    std::mutex faults_mutex_;                         // one caller at a time changes who listens
    std::array<std::unique_ptr<HttpServer>, 3> own_;  // by provider, empty without separate_ports
    std::unique_ptr<HttpServer> main_;
};

}  // namespace steplog::sandbox
