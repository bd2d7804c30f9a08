# What edge.vcl and shield.vcl share: what is cached and what is not. Nothing is ever served after its end: grace is
# zero everywhere, and an origin that does not answer is a 503. An answer of stock is kept only when the engine or an
# inner cache states the second of its end (X-Accel-Expires: @SECOND), so no tier adds to another. GET and HEAD of stock
# and of the publication are cached; everything else is passed on. ORIGIN_HOST and ORIGIN_PORT are the engine
# (`shuiwei serve`) or the next inner cache. Needs Varnish 7.0 or newer.

import std;

backend origin {
    .host = "ORIGIN_HOST";
    .port = "ORIGIN_PORT";
    .connect_timeout = 2s;
    # A body of an inner cache has 15 s - 12 s = 3 s to reach the reader.
    .first_byte_timeout = 3s;
    .between_bytes_timeout = 3s;
}

sub vcl_recv {
    if (req.method == "BAN") {
        # By the address that was asked (-a operators=ADDRESS:PORT), not by who asks: behind a proxy of the same machine
        # every reader would have its address.
        if (local.socket != "operators") {
            return (synth(403, "Forbidden"));
        }
        if (req.http.Surrogate-Key !~ "^[A-Za-z0-9_-]{1,64}$") {
            return (synth(400, "Surrogate-Key must name one tag"));
        }
        # Only obj.*, so that Varnish can forget the ban when no copy is left that it could match.
        if (!std.ban("obj.http.Surrogate-Key ~ (^|\s)" + req.http.Surrogate-Key + "(\s|$)")) {
            return (synth(500, std.ban_error()));
        }
        return (synth(200, "Deleted"));
    }
    if (req.http.Upgrade ~ "(?i)^websocket$") {
        return (pipe);
    }
    if (req.url !~ "^/v1/(stock(/|\?|$)|publication/)") {
        return (pass);
    }
    # The answer does not depend on the name by which the shop is asked.
    set req.http.Host = "ORIGIN_HOST:ORIGIN_PORT";
    if ((req.method == "GET" || req.method == "HEAD") && req.url !~ "^/v1/stock/stream(\?|$)") {
        # Nor on who asks; nobody's credentials go where they are not needed.
        unset req.http.Authorization;
        unset req.http.Cookie;
        if (req.url ~ "^/v1/stock") {
            # Too small to be compressed.
            unset req.http.Accept-Encoding;
        }
        return (hash);
    }
    return (pass);
}

sub vcl_hash {
    # Not by host: all names of the shop show the same stock.
    hash_data(req.url);
    return (lookup);
}

sub vcl_pipe {
    if (req.http.Upgrade) {
        set bereq.http.Upgrade = req.http.Upgrade;
        set bereq.http.Connection = "Upgrade";
    }
}

sub vcl_backend_fetch {
    if (bereq.url ~ "^/v1/stock/stream(\?|$)") {
        # Events of a page that stays open; one every 5 s at least.
        set bereq.between_bytes_timeout = 30s;
    } else if (bereq.uncacheable) {
        # The engine has limits of its own for everything else.
        set bereq.first_byte_timeout = 75s;
        set bereq.between_bytes_timeout = 75s;
    }
}

sub vcl_backend_response {
    set beresp.grace = 0s;
    set beresp.keep = 0s;
    if (bereq.uncacheable) {
        return (deliver);
    }
    if (bereq.url ~ "^/v1/publication/" && beresp.http.Cache-Control ~ "immutable") {
        # Named by its content: the same for ever, so its lifetime is the one of Cache-Control.
        return (deliver);
    }
    if (beresp.http.X-Accel-Expires ~ "^@[0-9]+$") {
        # To the end of that second, as nginx does: an outer cache that asked earlier would get the old copy again.
        set beresp.ttl = std.real2time(std.real(regsub(beresp.http.X-Accel-Expires, "^@", ""), 0.0), now) + 1s - now;
        # A cache that is not of this project must not begin a lifetime with a copy.
        unset beresp.http.CDN-Cache-Control;
        set beresp.http.Cache-Control = regsub(beresp.http.Cache-Control, ", s-maxage=[0-9]+$", "");
        # After that it is not served, only asked for with If-None-Match.
        set beresp.keep = 30s;
        if (beresp.ttl > 0s) {
            return (deliver);
        }
    }
    # Not kept. For this long the requests for it do not wait for each other.
    set beresp.uncacheable = true;
    set beresp.ttl = 0.1s;
    return (deliver);
}

sub vcl_backend_error {
    # No stock, so it breaks no promise: those that wait for the same answer get it at once, not one after another.
    set beresp.ttl = 1s;
    set beresp.grace = 0s;
    set beresp.http.Cache-Control = "no-store";
}

# RFC 9211: what this cache did. The caller has set its name.
sub add_cache_status {
    if (obj.hits > 0) {
        set req.http.X-Cache-Name = req.http.X-Cache-Name + "; hit; ttl=" + std.integer(duration=obj.ttl, fallback=0);
    } else if (obj.uncacheable) {
        set req.http.X-Cache-Name = req.http.X-Cache-Name + "; fwd=bypass";
    } else {
        set req.http.X-Cache-Name = req.http.X-Cache-Name + "; fwd=miss; stored";
    }
    if (resp.http.Cache-Status) {
        set resp.http.Cache-Status = resp.http.Cache-Status + ", " + req.http.X-Cache-Name;
    } else {
        set resp.http.Cache-Status = req.http.X-Cache-Name;
    }
    unset resp.http.X-Varnish;
    unset resp.http.Via;
}
