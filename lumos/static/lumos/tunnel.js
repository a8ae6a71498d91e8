// Makes an origin's WireGuard key (X25519, RFC 7748) in the browser. The form carries the public half alone; the private
// half waits in this tab's session storage for the page that shows the configuration, and is forgotten there.
const PLACE = "lumos-tunnel-key";
const form = document.querySelector("form[data-tunnel-key]");
const problem = form.querySelector("[data-key-error]");
const field = document.getElementById("public-key");
const configuration = document.getElementById("configuration");

const base64 = (bytes) => btoa(String.fromCharCode(...bytes));
const fromUrl = (text) => text.replaceAll("-", "+").replaceAll("_", "/").padEnd(44, "=");

form.querySelector("[data-make-key]").addEventListener("click", async () => {
  problem.textContent = "";
  try {
    if (!window.isSecureContext) throw new Error("Open this page over HTTPS: browsers make keys on secure pages only.");
    const pair = await crypto.subtle.generateKey({ name: "X25519" }, true, ["deriveBits"]);
    const publicKey = base64(new Uint8Array(await crypto.subtle.exportKey("raw", pair.publicKey)));
    const { d } = await crypto.subtle.exportKey("jwk", pair.privateKey);
    sessionStorage.setItem(PLACE, JSON.stringify({ publicKey, privateKey: fromUrl(d) }));
    field.value = publicKey;
  } catch (error) {
    problem.textContent = error.name === "NotSupportedError" ? "This browser is too old to make such keys; make one with wg genkey." : error.message;
  }
});

const made = JSON.parse(sessionStorage.getItem(PLACE) || "null");
if (configuration && made && made.publicKey === field.value) {
  configuration.value = configuration.value.replace("[Interface]\n", `[Interface]\nPrivateKey = ${made.privateKey}\n`);
  document.querySelector("[data-key-hint]").textContent =
    "Save this file with mode 600 now: the private key is in it, was never sent, and is forgotten when you leave this page. Start it with systemctl enable --now wg-quick@lumos0.";
  sessionStorage.removeItem(PLACE);
}
