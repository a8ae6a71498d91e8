// Seals a secret to each shield before the form leaves (HPKE, RFC 9180; sealing.py is the other end). data-seal names the
// domain that a certificate's private key is for; without one the secret is the key of an account at a CA.
import { Aes256Gcm, CipherSuite, DhkemP256HkdfSha256, HkdfSha256 } from "../vendor/hpke/core/mod.js";

const suite = new CipherSuite({ kem: new DhkemP256HkdfSha256(), kdf: new HkdfSha256(), aead: new Aes256Gcm() });
const form = document.querySelector("form[data-seal]");
const key = document.getElementById("private-key");
const problem = form.querySelector("[data-seal-error]");

const bytes = (base64) => Uint8Array.from(atob(base64), (character) => character.charCodeAt(0));
const base64 = (...parts) => btoa(parts.flatMap((part) => [...new Uint8Array(part)].map((b) => String.fromCharCode(b))).join(""));

async function seal(pem, recipient) {
  if (!recipient.sealing_key) throw new Error(`The agent of ${recipient.name} has not connected yet; start it first.`);
  const recipientPublicKey = await suite.kem.deserializePublicKey(bytes(recipient.sealing_key));
  const info = new TextEncoder().encode(`lumos certificate key v1 ${form.dataset.seal || recipient.server}`);
  const sealed = await suite.seal({ recipientPublicKey, info }, new TextEncoder().encode(pem));
  return base64(sealed.enc, sealed.ct);
}

form.addEventListener("submit", async (event) => {
  event.preventDefault();
  problem.textContent = "";
  try {
    if (!form.dataset.seal && !key.value.trim()) return form.submit();
    const pem = `${key.value.trim()}\n`;
    if (form.dataset.seal && !/^-----BEGIN (?:RSA |EC )?PRIVATE KEY-----/.test(pem)) {
      throw new Error("Paste the private key that belongs to the certificate, in PEM form and without a passphrase.");
    }
    if (!window.isSecureContext) throw new Error("Open this page over HTTPS: browsers seal on secure pages only.");
    const recipients = JSON.parse(document.getElementById("recipients").textContent);
    const sealed = await Promise.all(recipients.map(async (one) => [one.server, await seal(pem, one)]));
    form.elements.keys.value = JSON.stringify(Object.fromEntries(sealed));
    form.submit();
  } catch (error) {
    problem.textContent = error.message;
  }
});

// Until here a click would have sent the form without a key.
form.querySelector("[type=submit]").disabled = form.dataset.seal && JSON.parse(document.getElementById("recipients").textContent).length === 0;
