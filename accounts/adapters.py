"""What the sign-in library asks of Lumos."""

from allauth.mfa.adapter import DefaultMFAAdapter

from lumos.sealed import seal, unseal

_PURPOSE = "second factors"


class MfaAdapter(DefaultMFAAdapter):
    """Keeps the secrets of authenticator apps and recovery codes sealed."""

    def encrypt(self, text: str) -> str:
        """Return the form in which a secret is kept."""
        return seal(text.encode(), _PURPOSE).decode()

    def decrypt(self, encrypted_text: str) -> str:
        """Return the secret."""
        return unseal(encrypted_text.encode(), _PURPOSE).decode()
