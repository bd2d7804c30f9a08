vcl 4.1;

# The cache that other caches ask: in front of the engine, behind the edges. It differs from edge.vcl in what it passes
# on: the second at which every copy ends, and the tags by which copies are deleted. Only the edges should reach it.

sub vcl_recv {
    # Varnish has appended the edge's address. The one before is the reader's, by which the engine counts.
    set req.http.X-Forwarded-For = regsub(req.http.X-Forwarded-For, ",[^,]*$", "");
}

include "./stock.vcl";

sub vcl_deliver {
    set req.http.X-Cache-Name = "shuiwei-shield";
    call add_cache_status;
    return (deliver);
}
