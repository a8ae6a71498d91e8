"""What the shield's own pages say: (title, text)."""

ERROR_PAGES = {
    400: ("Bad request", "The browser sent a request that this site cannot understand."),
    403: ("Access denied", "The protection of this site stopped your request."),
    408: ("Request timed out", "The request took too long to arrive."),
    421: ("Unknown site", "This server does not serve the site that you asked for."),
    429: ("Too many requests", "Please wait a moment before you try again."),
    500: ("Internal error", "The protection of this site had an internal problem."),
    502: ("Bad gateway", "The web server behind this site gave an answer that makes no sense."),
    503: ("Site unavailable", "The web server behind this site does not answer right now. Please try again soon."),
    504: ("Gateway timeout", "The web server behind this site took too long to answer."),
}
CERTIFICATE = (
    "Certificate needed",
    "This site opens only for visitors whose browser shows a certificate of theirs. Install yours, then try again.",
)
MAINTENANCE = ("Back soon", "This site is being worked on. Please try again in a few minutes.")
