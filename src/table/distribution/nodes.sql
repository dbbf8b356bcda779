-- What the servers of the cluster say of themselves. Whoever loads may ask, without the right to run commands on them.
CREATE OR REPLACE FUNCTION {own}.cluster_nodes()
RETURNS TABLE (node text, is_coordinator boolean, said jsonb, in_doubt bigint, lanes bigint)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RETURN QUERY
    SELECT coalesce(n.nodename || ':' || n.nodeport, 'the coordinator'), coalesce(n.groupid, 0) = 0, CASE WHEN a.success THEN a.result::jsonb END,
           CASE WHEN a.success THEN (SELECT count(*) FROM jsonb_array_elements_text(a.result::jsonb -> 'prepared') AS p (gid)
                                     JOIN pg_dist_transaction t ON t.gid = p.gid) END,
           (SELECT coalesce(sum(jsonb_array_length(l.lanes)), 0)::bigint FROM {own}.loaders l
            WHERE l.seen_at > now() - interval '2 min' AND l.state <> 'stopped')
    FROM run_command_on_all_nodes($command$
        SELECT jsonb_build_object(
            'fsync', current_setting('fsync'),
            'synchronous_commit', (SELECT reset_val FROM pg_settings WHERE name = 'synchronous_commit'),
            'full_page_writes', current_setting('full_page_writes'),
            'has_standbys', current_setting('synchronous_standby_names') <> '',
            'max_prepared_transactions', current_setting('max_prepared_transactions')::integer,
            'prepared', coalesce((SELECT jsonb_agg(gid) FROM pg_prepared_xacts WHERE database = current_database()), '[]'),
            'oldest_prepared', coalesce((SELECT extract(epoch FROM max(now() - prepared)) FROM pg_prepared_xacts
                                         WHERE database = current_database()), 0))
    $command$) AS a LEFT JOIN pg_dist_node n ON n.nodeid = a.nodeid
    ORDER BY coalesce(n.groupid, 0);
END
$$;

COMMENT ON FUNCTION {own}.cluster_nodes() IS
    'What each server of the cluster says of its settings and of transactions that are prepared on it, NULL where it does not answer; how many of these the coordinator has committed; and how many lanes the loaders of the last two minutes have.';

REVOKE ALL ON FUNCTION {own}.cluster_nodes() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION {own}.cluster_nodes() TO PUBLIC;
