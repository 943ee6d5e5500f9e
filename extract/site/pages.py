"""The site's pages: a shell, a stylesheet and a script that asks for JSON and draws posts, as single-page sites do."""

from __future__ import annotations

import json
from typing import Any

from extract.site.languages import EASTERN_DIGITS, WORDS

_STYLE = """
:root{color-scheme:light dark;font:16px/1.5 system-ui,sans-serif}
body{margin:0 auto;max-width:42rem;padding:1rem}
header{border-bottom:3px solid #2a7f62;margin-bottom:1rem}
article{border:1px solid #8886;border-radius:.4rem;margin:.6rem 0;padding:.6rem 1rem}
[role=group]{display:flex;gap:1rem;font-size:.9rem}
/* words by CSS: a person sees what the numbers are, a reader of the page's text still sees numbers only */
[data-testid=reply]::before{content:"replies "} [data-testid=retweet]::before{content:"reposts "}
[data-testid=like]::before,[data-testid=unlike]::before{content:"likes "} [href$="/analytics"]::before{content:"views "}
[role=group] button,[role=group] a{background:none;border:0;color:#2a7f62;padding:0;font:inherit;text-decoration:none}
"""

# Drawn with textContent only: post text is data, never markup.
SCRIPT = """
const feed = document.getElementById('feed');
// visible numbers are cut off, not rounded, and written as the page's language does
const compact = new Intl.NumberFormat(window.LANG + (window.EASTERN ? '-u-nu-arab' : ''),
  {notation: 'compact', maximumFractionDigits: 1, roundingMode: 'floor'});
const short = n => compact.format(n < 1e4 ? n : n < 1e6 ? n - n % 1e3 : n < 1e7 ? n : n - n % 1e6);
const eastern = n => String(n).replace(/[0-9]/g, d => String.fromCharCode(0x660 + Number(d)));
const digits = n => window.EASTERN ? eastern(n) : String(n);
const words = (n, word) => window.WORDS[word].replace('#', digits(n));
function element(tag, attributes, text) {
  const e = document.createElement(tag);
  for (const [k, v] of Object.entries(attributes || {})) e.setAttribute(k, v);
  if (text !== undefined) e.textContent = text;
  return e;
}
function draw(result) {
  if (result.__typename !== 'Tweet') {
    feed.append(element('p', {'data-testid': 'tombstone'}, result.tombstone ? result.tombstone.text.text : 'gone'));
    return;
  }
  const c = result.counts || result.legacy || result, id = result.rest_id;
  const body = result.details || result.legacy || result;
  if (c.favorite_count === undefined) return;  // nothing that this page knows how to show
  const told_views = (result.views || {}).count, views = told_views === undefined ? null : Number(told_views);
  const who = result.core.user_results.result.core.screen_name;
  const article = element('article', {'data-testid': 'tweet', 'aria-label': 'post'});
  const link = element('a', {href: '/' + who + '/status/' + id});
  link.append(element('time', {datetime: body.created_at || ''}, body.created_at || 'post'));
  article.append(link, element('p', {'data-testid': 'tweetText'}, body.full_text));
  const counts = [c.reply_count, c.retweet_count, c.favorite_count, c.bookmark_count, views];
  const told = counts.map((n, i) => n > 0 ? words(n, i) : null).filter(t => t !== null).join(window.WORDS[5]);
  const group = element('div', {role: 'group', 'aria-label': told});
  const button = (id, i, verb) => group.append(element('button',
    {'data-testid': id, 'aria-label': words(counts[i], i) + '. ' + verb}, short(counts[i])));
  button('reply', 0, 'Reply');
  button('retweet', 1, 'Repost');
  button(body.favorited ? 'unlike' : 'like', 2, body.favorited ? 'Liked' : 'Like');
  if (views !== null) group.append(element('a', {href: '/' + who + '/status/' + id + '/' + 'analytics',
    'aria-label': words(views, 4) + '. View post analytics'}, short(views)));
  group.append(element('button', {'data-testid': 'bookmark', 'aria-label': 'Bookmark'}, ''));
  const quoted = (result.quoted_status_result || {}).result;
  if (quoted) {  // somebody else's post within, with its time and link
    const inner = element('a', {href: '/i/status/' + quoted.rest_id});
    inner.append(element('time', {datetime: ''}, 'quoted'));
    article.append(inner, element('p', {}, (quoted.legacy || {}).full_text));
  }
  article.append(group);
  feed.append(article);
}
// every entry of a timeline, ads too: they look like posts; returns the cursor to the next page
function drawAll(instructions) {
  let next = null;
  for (const i of instructions) for (const e of i.entries || []) {
    if (e.content.cursorType === 'Bottom') next = e.content.value;
    else draw(e.content.itemContent.tweet_results.result);
  }
  return next;
}
async function ask(operation, variables) {
  const v = encodeURIComponent(JSON.stringify(variables));
  const answer = await fetch('/i/api/graphql/' + window.BUILD + '/' + operation + '?variables=' + v + window.EXTRA);
  return answer.ok ? answer.json() : null;
}
const bits = location.pathname.split('/').filter(Boolean);
let cursor = null, busy = false, done = false;
async function more() {
  if (busy || done) return;
  busy = true;
  const body = await ask('UserTweets', {screen_name: bits[0], cursor});
  if (body === null) { done = true; return; }
  cursor = drawAll(body.data.user.result.timeline.timeline.instructions);
  done = cursor === null;
  busy = false;
  if (!done && document.body.scrollHeight <= innerHeight) more();
}
if (bits[1] === 'status' && window.CONVERSATION) {
  ask('TweetDetail', {focalTweetId: bits[2]})
    .then(b => b && drawAll(b.data.threaded_conversation_with_injections_v2.instructions));
} else if (bits[1] === 'status') {
  ask('TweetResultByRestId', {tweetId: bits[2]}).then(b => b && draw(b.data.tweetResult.result || {}));
} else {
  ask('UserByScreenName', {screen_name: bits[0]});
  addEventListener('scroll', () => { if (innerHeight + scrollY > document.body.scrollHeight - 600) more(); });
  more();
}
"""


def shell(
    title: str,
    build: str,
    extra: str = "",
    posting: dict[str, Any] | None = None,
    language: str = "en",
    conversation: bool = False,
    signed_out: bool = False,
) -> str:
    """The page around the script. ``build`` rotates the operation ids; a page that is ``signed_out`` asks for nothing,
    and a post's has its ``posting`` as JSON-LD; a reply's page shows the whole ``conversation``.
    """
    escaped = json.dumps(posting).replace("<", "\\u003c") if posting else ""
    linked = f'<script type="application/ld+json">{escaped}</script>' if posting else ""
    return (
        f'<!doctype html><html lang="{language}"><head><meta charset="utf-8">'
        f"<title>{title} · Levelset local site</title>"
        f"<style>{_STYLE}</style>{linked}</head><body><header><strong>Levelset local site</strong>"
        "<p>Made-up posts with made-up counters, for demo and tests.</p></header>"
        # as on real sites, the shell carries sentences that a text search would take for a failure
        "<noscript>JavaScript is not available.</noscript>"
        f'<main id="feed"></main><script>{_variables(build, extra, language, conversation)}</script>'
        + ("" if signed_out else '<script src="/assets/app.js"></script>')
        + "</body></html>"
    )


def _variables(build: str, extra: str, language: str, conversation: bool) -> str:
    told: dict[str, object] = {"BUILD": build, "EXTRA": extra, "CONVERSATION": conversation}
    told |= {"LANG": language, "WORDS": WORDS[language], "EASTERN": language in EASTERN_DIGITS}
    return "".join(f"window.{name}={json.dumps(value)};" for name, value in told.items())


LOGIN_WALL = (
    '<!doctype html><html lang="en"><head><title>Sign in · Levelset local site</title></head><body>'
    '<div data-testid="login_wall">Sign in to see posts.</div></body></html>'
)
