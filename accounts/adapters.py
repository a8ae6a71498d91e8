"""What the sign-in library asks of Lumos."""

from allauth.mfa.adapter import DefaultMFAAdapter

from lumos.secrets import Secret


class MfaAdapter(DefaultMFAAdapter):
    """Keeps the secrets of authenticator apps and recovery codes encrypted."""

    def encrypt(self, text: str) -> str:
        """Return the form in which a secret is kept."""
        return Secret.of(text).token

    def decrypt(self, encrypted_text: str) -> str:
        """Return the secret."""
        return Secret(encrypted_text).reveal()
