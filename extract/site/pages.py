"""The site's pages: a shell, a stylesheet and a script that asks for JSON and draws posts, as single-page sites do."""

from __future__ import annotations

import json
from typing import Any

_STYLE = """
:root{color-scheme:light dark;font:16px/1.5 system-ui,sans-serif}
body{margin:0 auto;max-width:42rem;padding:1rem}
header{border-bottom:3px solid #2a7f62;margin-bottom:1rem}
article{border:1px solid #8886;border-radius:.4rem;margin:.6rem 0;padding:.6rem 1rem}
[role=group]{display:flex;gap:1rem;font-size:.9rem}
/* words by CSS: a person sees what the numbers are, a reader of the page's text still sees numbers only */
[data-testid=reply]::before{content:"replies "} [data-testid=retweet]::before{content:"reposts "}
[data-testid=like]::before{content:"likes "} [href$="/analytics"]::before{content:"views "}
[role=group] button,[role=group] a{background:none;border:0;color:#2a7f62;padding:0;font:inherit;text-decoration:none}
"""

# Drawn with textContent only: post text is data, never markup.
SCRIPT = """
const feed = document.getElementById('feed');
const floor = n => n < 1e3 ? String(n) : n < 1e4 ? Math.floor(n/100)/10 + 'K' : n < 1e6 ? Math.floor(n/1e3) + 'K'
  : n < 1e7 ? Math.floor(n/1e5)/10 + 'M' : Math.floor(n/1e6) + 'M';
const words = (n, one, many) => n + ' ' + (n === 1 ? one : many);
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
  const views = Number(result.views.count), who = result.core.user_results.result.core.screen_name;
  const article = element('article', {'data-testid': 'tweet', 'aria-label': 'post'});
  const link = element('a', {href: '/' + who + '/status/' + id});
  link.append(element('time', {datetime: body.created_at || ''}, body.created_at || 'post'));
  article.append(link, element('p', {'data-testid': 'tweetText'}, body.full_text));
  const told = [[c.reply_count, 'reply', 'replies'], [c.retweet_count, 'repost', 'reposts'],
    [c.favorite_count, 'like', 'likes'], [c.bookmark_count, 'bookmark', 'bookmarks'], [views, 'view', 'views']]
    .filter(([n]) => n > 0).map(([n, a, b]) => words(n, a, b)).join(', ');
  const group = element('div', {role: 'group', 'aria-label': told});
  const button = (id, n, one, many, verb) =>
    group.append(element('button', {'data-testid': id, 'aria-label': words(n, one, many) + '. ' + verb}, floor(n)));
  button('reply', c.reply_count, 'Reply', 'Replies', 'Reply');
  button('retweet', c.retweet_count, 'repost', 'reposts', 'Repost');
  button('like', c.favorite_count, 'Like', 'Likes', 'Like');
  group.append(element('a', {href: '/' + who + '/status/' + id + '/analytics',
    'aria-label': words(views, 'view', 'views') + '. View post analytics'}, floor(views)));
  group.append(element('button', {'data-testid': 'bookmark', 'aria-label': 'Bookmark'}, ''));
  article.append(group);
  feed.append(article);
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
  cursor = null;
  for (const i of body.data.user.result.timeline.timeline.instructions) for (const e of i.entries || []) {
    if (e.content.cursorType === 'Bottom') cursor = e.content.value;
    else draw(e.content.itemContent.tweet_results.result);
  }
  done = cursor === null;
  busy = false;
  if (!done && document.body.scrollHeight <= innerHeight) more();
}
if (bits[1] === 'status') {
  ask('TweetResultByRestId', {tweetId: bits[2]}).then(b => b && draw(b.data.tweetResult.result || {}));
} else {
  ask('UserByScreenName', {screen_name: bits[0]});
  addEventListener('scroll', () => { if (innerHeight + scrollY > document.body.scrollHeight - 600) more(); });
  more();
}
"""


def shell(title: str, build: str, extra: str = "", posting: dict[str, Any] | None = None) -> str:
    """The page around the script. ``build`` rotates the operation ids; ``posting`` adds JSON-LD (a signed-out page)."""
    escaped = json.dumps(posting).replace("<", "\\u003c") if posting else ""
    linked = f'<script type="application/ld+json">{escaped}</script>' if posting else ""
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{title} · Levelset local site</title>'
        f"<style>{_STYLE}</style>{linked}</head><body><header><strong>Levelset local site</strong>"
        "<p>Made-up posts with made-up counters, for demo and tests.</p></header>"
        # as on real sites, the shell carries sentences that a text search would take for a failure
        "<noscript>JavaScript is not available.</noscript>"
        f'<main id="feed"></main><script>window.BUILD={json.dumps(build)};window.EXTRA={json.dumps(extra)};</script>'
        '<script src="/assets/app.js"></script></body></html>'
    )


LOGIN_WALL = (
    '<!doctype html><html lang="en"><head><title>Sign in · Levelset local site</title></head><body>'
    '<div data-testid="login_wall">Sign in to see posts.</div></body></html>'
)
