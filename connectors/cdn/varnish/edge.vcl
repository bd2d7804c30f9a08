vcl 4.1;

# The cache that browsers ask: in front of the engine, or in front of an inner cache (shield.vcl, or shield.conf of
# nginx). Put stock.vcl beside this file. A certificate is the business of what stands in front of Varnish.

include "./stock.vcl";

sub vcl_deliver {
    set req.http.X-Cache-Name = "shuiwei-edge";
    call add_cache_status;
    # For caches; browsers do not need them.
    unset resp.http.X-Accel-Expires;
    unset resp.http.Cache-Tag;
    unset resp.http.Surrogate-Key;
    return (deliver);
}
