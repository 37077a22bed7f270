# `nix run .` and `nix develop`. Not run yet: no Nix was there to try it with.
{
  description = "Run both halves of a test suite on disposable machines, with and without /dev/kvm";
  inputs.nixpkgs.url = "github:NixOS/nixpkgs/nixos-unstable";
  outputs =
    { self, nixpkgs }:
    let
      systems = [
        "x86_64-linux"
        "aarch64-linux"
      ];
      each = f: nixpkgs.lib.genAttrs systems (system: f nixpkgs.legacyPackages.${system});
    in
    {
      packages = each (pkgs: {
        default = pkgs.rustPlatform.buildRustPackage {
          pname = "twolane";
          version = (nixpkgs.lib.importTOML ./Cargo.toml).workspace.package.version;
          src = self;
          cargoLock.lockFile = ./Cargo.lock;
          cargoBuildFlags = [
            "--package"
            "twolane"
          ];
          # The tests need git, strace and servers on loopback: ./test.sh runs them.
          doCheck = false;
          nativeBuildInputs = [
            pkgs.installShellFiles
            pkgs.makeWrapper
          ];
          postInstall = ''
            PATH=$out/bin:$PATH
            twolane man --dir man && installManPage man/*.1
            installShellCompletion --cmd twolane \
              --bash <(twolane completions bash) --zsh <(twolane completions zsh) --fish <(twolane completions fish)
            wrapProgram $out/bin/twolane --suffix PATH : ${
              pkgs.lib.makeBinPath [
                pkgs.git
                pkgs.openssh
                pkgs.rsync
                pkgs.qemu_kvm
                pkgs.python3
              ]
            }
          '';
          meta.mainProgram = "twolane";
        };
      });
      devShells = each (pkgs: {
        default = pkgs.mkShell {
          inputsFrom = [ self.packages.${pkgs.system}.default ];
          packages = [
            pkgs.cargo-nextest
            pkgs.shellcheck
            pkgs.strace
          ];
        };
      });
    };
}
